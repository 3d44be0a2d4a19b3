"""sipp's scenarios, for servers that keep transactions and calls.

Such a server says 100 Trying before any other reply to an INVITE, and keeps a call until somebody hangs up.
The scenarios in sipp/ are for servers without state: with them, any message but theirs is a failure.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent / "sipp"

TRYING = '<recv response="100" optional="true"/>'
HANG_UP = """
  <send retrans="2000">
    <![CDATA[
      BYE sip:voicemail@[domain] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
      Max-Forwards: 70
      From: <sip:[service]@[domain]>;tag=[pid]i[call_number]
      To: <sip:voicemail@[domain]>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: 3 BYE
      Content-Length: 0

    ]]>
  </send>

  <recv response="200"/>
</scenario>"""


def stateful(scenario: str, folder: Path) -> Path:
    """Writes a scenario for such a server: a 100 may come, and whoever was let in hangs up at the end.

    Args:
        scenario: name of a file in sipp/, of an INVITE.
        folder: where to write it.
    """
    text = (HERE / scenario).read_text()
    text = re.sub(r"(?=<recv )", f"{TRYING}\n  ", text)
    if scenario == "invite.xml":
        text = text.replace("</scenario>", HANG_UP)
    path = folder / scenario
    path.write_text(text)
    return path
