from typing import final

from typing_extensions import Buffer

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.question import Question
from auth_diameter._core.diameter.application import Application
from auth_diameter._core.diameter.received import Received
from auth_diameter._core.diameter.stream import MessageStream

def question_room(question: Question, application: Application | None = None) -> int: ...
def append_question(out: bytearray, question: Question, msgid: int) -> None: ...
def decode_answer(data: Buffer) -> Answer: ...

@final
class DiscApplication(Application): ...

@final
class AaRequest(Received):
    @property
    def service_type(self) -> int: ...

@final
class RequestStream(MessageStream):
    def feed(self, data: Buffer) -> list[AaRequest]: ...

def append_answer(out: bytearray, request: AaRequest, answer: Answer) -> None: ...
