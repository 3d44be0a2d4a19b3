"""A route script that tells which digest a telephone used: one line for each request.

The status of the reply, and of credentials their algorithm and qop: `401`, then `200 SHA-256 auth`.
"""


async def request_route(request, auth):
    """Ask for Authorization, as the default route does of REGISTER."""
    decision = await auth.diameter_www_authorize(request, "$td")
    credentials = request.credentials(request.to_host)
    used = [] if credentials is None else [credentials.algorithm or "MD5", credentials.qop or "-"]
    print(decision.status or 200, *used)
    return decision if not decision else request.reply(200, "OK", decision.headers)
