from django.apps import AppConfig


class SequencerConfig(AppConfig):
    name = "sequencer"
