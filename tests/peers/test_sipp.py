"""sipp calls our SIP host, which asks our DISC: both phases of the digest, played by a stranger.

In each scenario sipp sends a request without credentials, computes the response to the challenge it
gets, and sends the request again. A call with any message but its scenario's own counts as failed.
"""

from pathlib import Path

import pytest

pytestmark = pytest.mark.peers

GROUP_ROUTE = Path(__file__).parent / "route_group.py"


def test_thousand_registers_are_challenged_and_let_through(serve, sipp, people):
    """The default route asks REGISTER for Authorization, with 401; each response is accepted."""
    calls = sipp("register.xml", to=serve(), user=people["member"], calls=1000)
    assert (calls.successful, calls.failed) == (1000, 0), calls.report


def test_invite_is_challenged_as_a_proxy_does_by_the_default_route(serve, sipp, people):
    """The default route asks other methods for Proxy-Authorization, with 407, and for no group."""
    calls = sipp("invite.xml", to=serve(), user=people["outsider"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_thousand_invites_of_a_group_member_are_let_through(serve, sipp, people):
    """A route script asks DISC twice: for the password, then for the group of that user."""
    calls = sipp("invite.xml", to=serve(route=GROUP_ROUTE), user=people["member"], calls=1000)
    assert (calls.successful, calls.failed) == (1000, 0), calls.report


def test_invite_of_a_user_outside_the_group_is_forbidden(serve, sipp, people):
    """The right password alone does not help where the script asks for the group."""
    host = serve(route=GROUP_ROUTE)
    calls = sipp("invite_refused.xml", to=host, user=people["outsider"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


@pytest.mark.parametrize("scenario", ["register_refused.xml", "invite_refused.xml"])
def test_wrong_password_is_forbidden(serve, sipp, people, scenario):
    """DISC says 5003, the host 403: not another challenge, which a phone might answer for ever."""
    name, _ = people["member"]
    calls = sipp(scenario, to=serve(), user=(name, "not the password"), calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


@pytest.mark.parametrize("scenario", ["register_refused.xml", "invite_refused.xml"])
def test_unknown_user_is_forbidden(serve, sipp, people, scenario):
    """The same messages as for a wrong password, so that a caller cannot tell which users exist."""
    calls = sipp(scenario, to=serve(), user=people["unknown"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report
