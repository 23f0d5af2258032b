"""Addresses of the catalogue's API."""

from typing import Any

from django.urls import path

from catalog import views

collection: dict[str, Any] = {"get": "list", "post": "create"}
single: dict[str, Any] = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}

urlpatterns = [
    path("products", views.ProductViewSet.as_view(collection), name="products"),
    path("products/bulk", views.ProductBulkViewSet.as_view({"post": "create_many", "patch": "update_many"})),
    path("products/<str:id>", views.ProductViewSet.as_view(single), name="product"),
    path("suppliers", views.SupplierViewSet.as_view(collection), name="suppliers"),
    path("suppliers/<str:id>", views.SupplierViewSet.as_view(single), name="supplier"),
    path("brands", views.BrandViewSet.as_view(collection), name="brands"),
    path("brands/<str:id>", views.BrandViewSet.as_view(single), name="brand"),
    path("categories", views.CategoryViewSet.as_view(collection), name="categories"),
    path("categories/<str:id>", views.CategoryViewSet.as_view(single), name="category"),
]
