"""Addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path

from rewards.api.bulk import (
    Assignments,
    BulkJobs,
    ControlBulkJob,
    Deactivations,
    ExportFile,
    Exports,
    Extensions,
    Generations,
    OneBulkJob,
)
from rewards.api.disputes import (
    AnswerDispute,
    DecideDispute,
    DisputeReveal,
    Disputes,
    OneDispute,
    WithdrawDispute,
)
from rewards.api.imports import ImportFaults, Imports, OneImport
from rewards.api.partners import (
    DeactivateGeneric,
    GenericCodes,
    Partners,
    PartnerSeries,
    PartnerStaff,
)
from rewards.api.presents import EndPresent, Presents
from rewards.api.protection import SeriesGuarantee, SeriesTradingTerms
from rewards.api.redemptions import (
    Confirm,
    OneRedemption,
    Qualify,
    Redemptions,
    Reverse,
    RollBack,
)
from rewards.api.reveals import OneReveal, RevealImage, RevealOne, Reveals
from rewards.api.series import HandOuts, OneSeries, SeriesList

urlpatterns = [
    path("reveals/<id:reveal_id>/dispute/", DisputeReveal.as_view(), name="dispute-reveal"),
    path("disputes/", Disputes.as_view(), name="disputes"),
    path("disputes/<id:dispute_id>/", OneDispute.as_view(), name="dispute"),
    path("disputes/<id:dispute_id>/withdraw/", WithdrawDispute.as_view(), name="dispute-withdraw"),
    path("disputes/<id:dispute_id>/answer/", AnswerDispute.as_view(), name="dispute-answer"),
    path("disputes/<id:dispute_id>/decide/", DecideDispute.as_view(), name="dispute-decide"),
    path(
        "series/<str:series_code>/trading-terms/",
        SeriesTradingTerms.as_view(),
        name="trading-terms",
    ),
    path("series/<str:series_code>/guarantee/", SeriesGuarantee.as_view(), name="guarantee"),
    path("series/", SeriesList.as_view(), name="series-list"),
    path("series/<str:series_code>/", OneSeries.as_view(), name="series"),
    path("series/<str:series_code>/imports/", Imports.as_view(), name="imports"),
    path("series/<str:series_code>/hand-outs/", HandOuts.as_view(), name="hand-outs"),
    path("series/<str:series_code>/reveal/", RevealOne.as_view(), name="reveal"),
    path("imports/<id:import_id>/", OneImport.as_view(), name="import"),
    path("imports/<id:import_id>/faults/", ImportFaults.as_view(), name="import-faults"),
    path("reveals/", Reveals.as_view(), name="reveals"),
    path("reveals/<id:reveal_id>/", OneReveal.as_view(), name="reveal-view"),
    path("reveals/<id:reveal_id>/image.<str:form>", RevealImage.as_view(), name="reveal-image"),
    path("presents/", Presents.as_view(), name="presents"),
    re_path(
        r"^presents/(?P<present_id>[1-9][0-9]{0,17})/(?P<deed>accept|decline|take-back)/$",
        EndPresent.as_view(),
        name="end-present",
    ),
    path("series/<str:series_code>/generations/", Generations.as_view(), name="generations"),
    path("series/<str:series_code>/exports/", Exports.as_view(), name="code-exports"),
    path("series/<str:series_code>/assignments/", Assignments.as_view(), name="assignments"),
    path("series/<str:series_code>/extensions/", Extensions.as_view(), name="extensions"),
    path("series/<str:series_code>/deactivations/", Deactivations.as_view(), name="deactivations"),
    path("series/<str:series_code>/generic-codes/", GenericCodes.as_view(), name="generic-codes"),
    path("series/<str:series_code>/bulk-jobs/", BulkJobs.as_view(), name="bulk-jobs"),
    path("bulk-jobs/<id:bulk_job_id>/", OneBulkJob.as_view(), name="bulk-job"),
    re_path(
        r"^bulk-jobs/(?P<bulk_job_id>[1-9][0-9]{0,17})/(?P<deed>pause|resume|retry|cancel)/$",
        ControlBulkJob.as_view(),
        name="bulk-job-control",
    ),
    path("bulk-jobs/<id:bulk_job_id>/codes.<str:form>", ExportFile.as_view(), name="export-file"),
    path(
        "generic-codes/<id:generic_id>/deactivate/",
        DeactivateGeneric.as_view(),
        name="deactivate-generic",
    ),
    path("partners/", Partners.as_view(), name="partners"),
    path("partners/<slug:partner_code>/staff/", PartnerStaff.as_view(), name="partner-staff"),
    path("partners/<slug:partner_code>/series/", PartnerSeries.as_view(), name="partner-series"),
    path("redemptions/", Redemptions.as_view(), name="redemptions"),
    path("redemptions/qualify/", Qualify.as_view(), name="qualify"),
    path("redemptions/<id:redemption_id>/", OneRedemption.as_view(), name="redemption"),
    path("redemptions/<id:redemption_id>/confirm/", Confirm.as_view(), name="confirm"),
    path("redemptions/<id:redemption_id>/roll-back/", RollBack.as_view(), name="roll-back"),
    path("redemptions/<id:redemption_id>/reverse/", Reverse.as_view(), name="reverse"),
]
