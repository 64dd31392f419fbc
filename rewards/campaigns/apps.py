from django.apps import AppConfig


class CampaignsConfig(AppConfig):
    name = "rewards.campaigns"
    label = "campaigns"
