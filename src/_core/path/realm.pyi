from typing import final

@final
class Realm: ...
