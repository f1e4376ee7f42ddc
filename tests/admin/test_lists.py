"""Lists in the admin: who is on one, put on it by a pasted list or a file, taken off."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.models import Contact, Segment, SegmentMember
from tests.admin.conftest import act_page, errors_of, send
from tests.admin.pages import list_page


@pytest.fixture
def listed(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return Segment.objects.get(name="regulars")


def on(listed) -> list[str]:
    with tenancy.tenant_scope(listed.tenant_id):
        return list(listed.members.order_by("contact__email").values_list("contact__email", flat=True))


def test_a_pasted_list_and_a_file_are_put_on_a_list(operator, world, listed):
    file = SimpleUploadedFile("people.csv", b"email,name\nbuyer3@example.com,Zoe\nlost@example.com,X\n")
    people = "buyer2@example.com, +15145550101\nnobody@example.com"
    page = send(operator, act_page(listed, "fill"), people=people, file=file).content.decode()
    assert on(listed) == ["buyer1@example.com", "buyer2@example.com", "buyer3@example.com"]
    assert "2 added, 0 taken off." in page
    assert "Nobody is known by nobody@example.com, email, lost@example.com." in page
    with tenancy.tenant_scope(world.tenant.pk):
        assert AuditEvent.objects.filter(name="segment.filled", actor__startswith="user:").count() == 1


def test_who_is_named_is_taken_off(operator, listed):
    send(operator, act_page(listed, "empty"), people="BUYER1@example.com")
    assert on(listed) == []


def test_nobody_and_a_file_that_is_none_are_refused_in_words(operator, listed):
    assert errors_of(send(operator, act_page(listed, "fill"))) == ["Write somebody down, or choose a file."]
    file = SimpleUploadedFile("people.csv", b"\xff\x81")
    assert errors_of(send(operator, act_page(listed, "fill"), file=file)) == ["it is not UTF-8; save it as UTF-8"]


def test_a_described_segment_takes_nobody(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        described = Segment.objects.get(name="everybody")
    answer = send(operator, act_page(described, "fill"), people="buyer1@example.com")
    assert errors_of(answer) == ["It is described: only a list has members that are put on it."]
    page = operator.get(act_page(described, "members"), follow=True)
    assert "only a list has members" in page.content.decode()


def test_members_are_shown_found_and_taken_off(operator, world, listed):
    with tenancy.tenant_scope(world.tenant.pk):
        other = Segment.objects.create(name="other", kind="static")
        SegmentMember.objects.create(segment=other, contact=Contact.objects.get(email="buyer2@example.com"))
    answer = operator.get(act_page(listed, "members"), follow=True)
    assert re.findall(r"buyer\d@example.com", answer.content.decode()) == ["buyer1@example.com"]
    url = f"{list_page(SegmentMember)}?segment={listed.pk}"
    assert "buyer1@" not in operator.get(f"{url}&q=buyer2@example.com").content.decode()
    (member,) = re.findall(r'name="_selected_action" value="(\d+)"', answer.content.decode())
    operator.post(url, {"action": "take_off", "_selected_action": [member]})
    assert on(listed) == []
    assert on(other) == ["buyer2@example.com"]


def test_a_viewer_sees_members_and_changes_nothing(viewer, stranger, listed):
    assert "buyer1@example.com" in viewer.get(act_page(listed, "members"), follow=True).content.decode()
    for path in ("fill", "empty"):
        assert viewer.get(act_page(listed, path)).status_code == 403
        assert stranger.get(act_page(listed, path)).status_code == 404
    viewer.post(list_page(SegmentMember), {"action": "take_off", "_selected_action": ["1"]})
    assert on(listed) == ["buyer1@example.com"]
