from auth_diameter._core.digest.algorithm import Algorithm

ALGORITHMS: dict[str, Algorithm]
