"""Fixtures that many tests share; each lives in a module of tests/support/."""

pytest_plugins = [
    "tests.support.mail",
    "tests.support.ops",
    "tests.support.postgres",
    "tests.support.stage",
    "tests.support.properties",
    "tests.support.redis",
    "tests.support.site",
]
