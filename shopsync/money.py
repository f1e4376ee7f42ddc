"""Amounts of money as text (pure)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

# ISO 4217, list one: what is in use, with the codes of funds, without metals and test codes.
# https://www.six-group.com/en/products-services/financial-information/data-standards.html
_CODES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF
CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT
MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD
SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS
VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())
# Their minor units; every other currency has two decimals.
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS = "CLF UYW"
_DECIMALS = {
    code: decimals
    for decimals, codes in ((0, _NO_DECIMALS), (3, _THREE_DECIMALS), (4, _FOUR_DECIMALS))
    for code in codes.split()
}


# Some are paid in coarser steps only: https://docs.stripe.com/currencies (zero- and three-decimal currencies).
_PAYABLE_DECIMALS = {"MGA": 0} | dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 2)


def decimals_of(currency: str) -> int:
    """Say how many decimals amounts of a currency have, as they are written."""
    return _DECIMALS.get(currency, 2)


def unit_of(currency: str) -> Decimal:
    """Say what the smallest amount is that can be paid: of KWD 0.01, though its amounts have three decimals."""
    return Decimal(1).scaleb(-_PAYABLE_DECIMALS.get(currency, decimals_of(currency)))


def round_amount(amount: Decimal, currency: str) -> Decimal:
    """Round half up to what can be paid in the currency."""
    return amount.quantize(unit_of(currency), rounding=ROUND_HALF_UP)


def coarseness_of(currency: str) -> str:
    """Say in a sentence how fine amounts of a currency can be, for whoever sent a finer one."""
    decimals, unit = decimals_of(currency), unit_of(currency)
    if unit == Decimal(1).scaleb(-decimals):
        return f"{currency} has {decimals} decimals."
    return f"{currency} is paid in steps of {format_amount(unit, currency)}."


def format_amount(amount: Decimal, currency: str) -> str:
    """Write an amount with the decimals of its currency; a finer one (a unit price) keeps all of its own."""
    decimals = decimals_of(currency)
    try:
        rounded = amount.quantize(Decimal(1).scaleb(-decimals))
    except InvalidOperation:
        return f"{amount:f}"
    return f"{rounded:f}" if rounded == amount else f"{amount.normalize():f}"
