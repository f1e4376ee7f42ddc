"""Amounts of money as text (pure)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

# ISO 4217's minor units; every other currency in use has two decimals.
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"


def decimals_of(currency: str) -> int:
    """Say how many decimals amounts of a currency have."""
    return 0 if currency in _NO_DECIMALS.split() else 3 if currency in _THREE_DECIMALS.split() else 2


def unit_of(currency: str) -> Decimal:
    """Say what the smallest amount of a currency is."""
    return Decimal(1).scaleb(-decimals_of(currency))


def round_amount(amount: Decimal, currency: str) -> Decimal:
    """Round half up to the decimals of the currency."""
    return amount.quantize(unit_of(currency), rounding=ROUND_HALF_UP)


def format_amount(amount: Decimal, currency: str) -> str:
    """Write an amount with the decimals of its currency; a finer one (a unit price) keeps all of its own."""
    decimals = decimals_of(currency)
    try:
        rounded = amount.quantize(Decimal(1).scaleb(-decimals))
    except InvalidOperation:
        return f"{amount:f}"
    return f"{rounded:f}" if rounded == amount else f"{amount.normalize():f}"
