"""The hand-over of the stock's count, for owners: a page that says what it means, asked for from the list of orders."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action

from orders.actions.handover import HandOverError, hand_over
from shopsync.admin.base import TenantModelAdmin, actor_of
from shopsync.models import Tenant
from shopsync.sites import scope_of

_MEANS = {
    Tenant.StockAuthority.SHOPSYNC: (
        "Shopify counts this tenant's stock now. From here on we would: our count begins where Shopify's stands, and "
        "what Shopify says later is shown beside it as a difference. Stock is then received, adjusted and moved here.",
    ),
    Tenant.StockAuthority.SHOPIFY: (
        "We count this tenant's stock now. From here on Shopify would: what it said last becomes the count, so correct "
        "its count first. Orders of our own that wait to be sent, which it does not know, stay held beside it.",
    ),
}


class HandsOver(TenantModelAdmin):
    """What owners do to the tenant's stock as a whole."""

    actions_list = ("hand_over_stock",)

    @action(description="Who counts the stock", url_path="hand-over", permissions=["configure"], icon="swap_horiz")
    def hand_over_stock(self, request: HttpRequest) -> HttpResponse:
        """Say who counts, ask, then hand the count over."""
        tenant = Tenant.objects.get(pk=scope_of(request).tenant_id or 0)
        is_ours = tenant.stock_authority == Tenant.StockAuthority.SHOPSYNC
        to = Tenant.StockAuthority.SHOPIFY if is_ours else Tenant.StockAuthority.SHOPSYNC
        back = reverse("admin:orders_order_changelist")
        if request.method == "POST":
            # The page names whom it asked about, so that a page that is sent twice does not hand the count back.
            self._hand_over(request, request.POST.get("to", ""))
            return HttpResponseRedirect(back)
        button = f"Let {'Shopify' if is_ours else 'us'} count"
        return self.confirm(
            request, "Hand the count over?", sentences=_MEANS[to], button=button, back=back, hidden=[("to", to)]
        )

    def _hand_over(self, request: HttpRequest, to: str) -> None:
        try:
            done = hand_over(to=to, actor=actor_of(request), now=timezone.now())
        except (HandOverError, ValueError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        sentence = f"{done.levels} levels are counted by {done.authority} from now on."
        self.message_user(request, sentence, messages.SUCCESS)
