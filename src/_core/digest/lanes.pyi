from collections.abc import Iterable
from typing import TypeAlias

from typing_extensions import Buffer

from auth_diameter._core.digest.credentials import Credentials

# Credentials, method, HA1, and with qop=auth-int the body, or its hash
_Item: TypeAlias = (
    tuple[Credentials, str | bytes, str | bytes]
    | tuple[Credentials, str | bytes, str | bytes, Buffer]
    | tuple[Credentials, str | bytes, str | bytes, Buffer, str | bytes | None]
)

def md5_lanes() -> str: ...
def verify_many(items: Iterable[_Item]) -> bytearray: ...
