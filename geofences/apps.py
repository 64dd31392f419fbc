from django.apps import AppConfig


class GeofencesConfig(AppConfig):
    name = "geofences"
