"""The script of both configurations of Kamailio with our adapter: the route of kamailio.cfg."""

import os
import site

site.addsitedir(os.environ["SITE_PACKAGES"])

import KSR

from auth_diameter.adapters import kemi

kemi.configure(diameter_client_host="127.0.0.1", diameter_client_port=int(os.environ["DISC_PORT"]))


def mod_init():
    return Route()


class Route(kemi.Handler):
    def ksr_request_route(self, msg):
        method = KSR.pv.get("$rm")
        if method == "OPTIONS":
            KSR.sl.send_reply(200, "OK")
            return 1
        authorize = kemi.diameter_www_authorize if method == "REGISTER" else kemi.diameter_proxy_authorize
        if authorize("$fd") < 1:
            return 1
        KSR.sl.send_reply(200, "OK")
        return 1
