"""Every address of the product. API routes have no trailing slash; `pim.api.middleware` drops one that is sent."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from pim import health

api_v1 = [
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("catalog.urls")),
    path("", include("imports.urls")),
    path("", include("pim.webhooks.urls")),
    path("code2asin/", include("code2asin.urls")),
    path("ext/", include("extapi.urls")),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api_v1)),
    # The same views at their other documented address.
    path("code2asin/", include("code2asin.urls")),
]

handler400 = "pim.api.middleware.bad_request"
