from typing_extensions import Buffer, disjoint_base

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.question import Question

@disjoint_base
class Application:
    @property
    def is_standard(self) -> bool: ...
    def append(self, out: bytearray, question: Question, msgid: int) -> None: ...
    def decode(self, data: Buffer) -> Answer: ...
