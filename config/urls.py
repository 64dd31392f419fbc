"""Every address of the site, by room."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

admin.site.index_title = "Back office"
# The admin has no sign-in of its own: allauth's limits tries and asks for the second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/v1/", include("accounts.urls")),
    path("api/v1/", include("wallet.urls")),
    path("api/v1/", include("orderbook.urls")),
    path("api/v1/", include("rewards.urls")),
    path("api/v1/", include("rewards.campaigns.urls")),
    path("", include("web.urls")),
]

handler400 = "edge.answers.bad_request"
handler403 = "edge.answers.permission_denied"
handler404 = "edge.answers.page_not_found"
handler500 = "edge.answers.server_error"
