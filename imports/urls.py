"""Routes below `/api/v1/`."""

from django.urls import path

from imports.views import ImportJobViewSet as Jobs
from imports.views import ImportLogList

urlpatterns = [
    path("imports/jobs", Jobs.as_view({"get": "list", "post": "create"}), name="import-jobs"),
    path("imports/jobs/<uuid:pk>", Jobs.as_view({"get": "retrieve"}), name="import-job"),
    path("imports/jobs/<uuid:pk>/logs", ImportLogList.as_view(), name="import-job-logs"),
    *(
        path(f"imports/jobs/<uuid:pk>/{name}", Jobs.as_view({method: name}), name=f"import-job-{name}")
        for name, method in (
            ("pause", "post"),
            ("resume", "post"),
            ("cancel", "post"),
            ("confirm", "post"),
            ("preview", "get"),
        )
    ),
]
