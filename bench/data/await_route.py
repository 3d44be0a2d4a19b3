"""A route script with one await, for route_cost.py: what the default route does to a REGISTER."""


async def request_route(request, auth):
    decision = await auth.diameter_www_authorize(request, "$fd")
    if not decision:
        return decision
    return request.reply(200, "OK")
