"""A route script that asks for a group alone, for serve_cost.py."""


async def request_route(request, auth):
    decision = await auth.diameter_is_user_in(request, "From", "sales")
    return request.reply(200 if decision else 403, "OK")
