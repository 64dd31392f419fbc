"""Addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path

from rewards.campaigns.api import claims, knowing, reports, running

_VERSION = "campaigns/<str:code>/versions/<int:number>/"

urlpatterns = [
    path("campaigns/", running.Campaigns.as_view(), name="campaigns"),
    path("campaigns/<str:code>/", running.OneCampaign.as_view(), name="campaign"),
    path("campaigns/<str:code>/claims/", claims.Claims.as_view(), name="campaign-claims"),
    path("campaigns/<str:code>/qualify/", claims.QualifyForOne.as_view(), name="campaign-qualify"),
    path("campaigns/<str:code>/report/", reports.Report.as_view(), name="campaign-report"),
    path("campaigns/<str:code>/pause/", running.Pause.as_view(), name="campaign-pause"),
    path("campaigns/<str:code>/resume/", running.Resume.as_view(), name="campaign-resume"),
    path("campaigns/<str:code>/end/", running.End.as_view(), name="campaign-end"),
    path("campaigns/<str:code>/versions/", running.Versions.as_view(), name="versions"),
    path(_VERSION, running.OneVersion.as_view(), name="version"),
    path(f"{_VERSION}publish/", running.PublishVersion.as_view(), name="version-publish"),
    path(f"{_VERSION}reject/", running.RejectVersion.as_view(), name="version-reject"),
    path(f"{_VERSION}seed/", running.Seed.as_view(), name="version-seed"),
    path(f"{_VERSION}simulations/", reports.Simulations.as_view(), name="simulations"),
    path("simulations/<id:simulation_id>/", reports.OneSimulation.as_view(), name="simulation"),
    path("campaign-liability/", reports.Liability.as_view(), name="campaign-liability"),
    path("qualify/", claims.QualifyForAll.as_view(), name="qualify"),
    path("claims/", claims.OwnClaims.as_view(), name="claims"),
    path("claims/<id:claim_id>/", claims.OneClaim.as_view(), name="claim"),
    path("claims/<id:claim_id>/reverse/", claims.ReverseClaim.as_view(), name="claim-reverse"),
    path("tiers/", claims.Tiers.as_view(), name="tiers"),
    path("tier-programs/", knowing.Programs.as_view(), name="tier-programs"),
    path("fact-names/", knowing.Names.as_view(), name="fact-names"),
    path("segments/<str:segment>/members/", knowing.Members.as_view(), name="segment-members"),
    path("activities/", knowing.Activities.as_view(), name="activities"),
    path("people/<str:handle>/attributes/", knowing.Attributes.as_view(), name="attributes"),
    path("people/<str:handle>/campaigns/", reports.Story.as_view(), name="campaign-story"),
]
