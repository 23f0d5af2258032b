"""Addresses of the external API. Any other segment below `products/` is an EAN, known or not."""

from django.urls import path

from extapi import views

urlpatterns = [
    path("status", views.StatusView.as_view(), name="ext-status"),
    path("products", views.ProductsView.as_view(), name="ext-products"),
    path("products/delta", views.DeltaView.as_view(), name="ext-delta"),
    path("products/batch", views.BatchView.as_view(), name="ext-batch"),
    path("products/<str:ean>", views.ProductView.as_view(), name="ext-product"),
]
