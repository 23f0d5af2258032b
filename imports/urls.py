"""Routes below `/api/v1/`."""

from django.urls import path

from imports.views import ImportJobViewSet as Jobs
from imports.views import ImportLogList, SupplierMappingView

urlpatterns = [
    path("imports/jobs", Jobs.as_view({"get": "list", "post": "create"}), name="import-jobs"),
    path("imports/jobs/<uuid:pk>", Jobs.as_view({"get": "retrieve", "patch": "partial_update"}), name="import-job"),
    path("imports/jobs/<uuid:pk>/logs", ImportLogList.as_view(), name="import-job-logs"),
    path("imports/jobs/<uuid:pk>/errors.csv", Jobs.as_view({"get": "errors_csv"}), name="import-job-errors-csv"),
    path("imports/suppliers/<path:code>/mapping", SupplierMappingView.as_view(), name="supplier-mapping"),
    *(
        path(f"imports/jobs/<uuid:pk>/{name}", Jobs.as_view({method: name}), name=f"import-job-{name}")
        for name, method in (
            ("pause", "post"),
            ("resume", "post"),
            ("cancel", "post"),
            ("confirm", "post"),
            ("retry", "post"),
            ("undo", "post"),
            ("diff", "get"),
            ("preview", "get"),
        )
    ),
]
