from typing_extensions import Buffer

from auth_diameter._core.digest.credentials import Credentials

def verify(
    credentials: Credentials,
    method: str | bytes,
    ha1: str | bytes,
    body: Buffer = b"",
    *,
    body_hash: str | bytes | None = None,
) -> bool: ...
def body_hash(credentials: Credentials, body: Buffer) -> bytes | None: ...
def ha1(username: str, realm: str, password: str, algorithm: str = "MD5") -> str: ...
def user_hash(username: str, realm: str, algorithm: str = "MD5") -> str: ...
def digest_response(
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    algorithm: str = "MD5",
    qop: str | None = None,
    nc: str | None = None,
    cnonce: str | None = None,
    body: Buffer = b"",
) -> str: ...
