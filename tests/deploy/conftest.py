from tests.http.conftest import start_daemon  # noqa: F401: a fixture
