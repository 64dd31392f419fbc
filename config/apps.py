from django.apps import AppConfig


class Config(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Make our Celery the one that tasks ring, in every process."""
        from config import celery  # noqa: F401
