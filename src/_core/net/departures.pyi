from typing import final

@final
class Departures:
    def __new__(cls, fd: int, segments: bool = True) -> Departures: ...
    segments: bool
    @property
    def sent(self) -> int: ...
    @property
    def lost(self) -> int: ...
