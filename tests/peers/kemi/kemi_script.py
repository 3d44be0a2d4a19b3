"""Kamailio's script: the whole route in kemi.cfg, the functions for python_exec alone in native.cfg.

The settings are in a file of their own, which the test changes. An operator writes them here.
"""

import json
import os
import site
from pathlib import Path

site.addsitedir(os.environ["SITE_PACKAGES"])

import KSR

from auth_diameter.adapters import kemi

kemi.configure(**json.loads(Path(os.environ["SETTINGS"]).read_text()))


def mod_init():
    return Route()


class Route(kemi.Handler):
    """The route of native.cfg."""

    def ksr_request_route(self, msg):
        KSR.hdr.append_to_reply(f"Worker: {KSR.pv.get('$pp')}\r\n")
        method = KSR.pv.get("$rm")
        if method == "OPTIONS":
            KSR.sl.send_reply(200, "OK")
        elif method == "REGISTER":
            if kemi.diameter_www_authorize("$td") > 0:
                KSR.registrar.save("location", 0x04)
        elif method != "ACK" and kemi.diameter_proxy_authorize("$fd") > 0:
            if kemi.diameter_is_user_in("Credentials", "voicemail") > 0:
                KSR.sl.send_reply(200, "OK")
            else:
                KSR.sl.send_reply(403, "Forbidden")
        return 1
