from typing import final

@final
class Slots:
    def put(self, data: bytes, source: tuple[str, int] | tuple[str, int, int, int]) -> None: ...
