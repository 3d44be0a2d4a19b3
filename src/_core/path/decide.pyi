from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.causes import Cause
from auth_diameter._core.auth.question import Question
from auth_diameter._core.diameter.application import Application
from auth_diameter._core.sip.request import SipRequest

def ask(
    request: SipRequest,
    realm: str | None,
    proxy: bool,
    tells_source: bool,
    most: int,
    application: Application | None = None,
) -> tuple[Question | Cause, str | None]: ...
def judge(question: Question, answer: Answer) -> tuple[Cause, bool]: ...
