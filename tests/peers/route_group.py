"""A route script: who may call is a question of the group, not only of the password.

REGISTER needs the right password; every other method also needs a user in the group "voicemail".
"""


async def request_route(request, auth):
    """Decide on one request: its reply, or None where none is due."""
    if request.method == "REGISTER":
        decision = await auth.diameter_www_authorize(request, "$td")
        return decision if not decision else request.reply(200, "OK")
    if request.method == "ACK":
        return None

    decision = await auth.diameter_proxy_authorize(request, "$fd")
    if not decision:
        return decision
    if not await auth.diameter_is_user_in(request, "Credentials", "voicemail"):
        return request.reply(403, "Forbidden")
    return request.reply(200, "OK")
