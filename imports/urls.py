"""Routes below `/api/v1/`."""

from django.urls import path

from imports.views import ImportJobViewSet as Jobs

urlpatterns = [
    path("imports/jobs", Jobs.as_view({"get": "list", "post": "create"}), name="import-jobs"),
    path("imports/jobs/<uuid:pk>", Jobs.as_view({"get": "retrieve"}), name="import-job"),
    *(
        path(f"imports/jobs/<uuid:pk>/{name}", Jobs.as_view({method: name}), name=f"import-job-{name}")
        for name, method in (
            ("pause", "post"),
            ("resume", "post"),
            ("cancel", "post"),
            ("confirm", "post"),
            ("logs", "get"),
            ("preview", "get"),
        )
    ),
]
