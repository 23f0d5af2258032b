"""Routes of the Code2ASIN API below its prefix; they have no names because they are mounted twice."""

from django.urls import path

from code2asin import views

JOB = "jobs/<uuid:job_id>"

urlpatterns = [
    path("jobs", views.JobsView.as_view()),
    path(JOB, views.JobView.as_view()),
    *(path(f"{JOB}/{move}", views.MoveView.as_view(move=move)) for move in ("start", "pause", "resume", "cancel")),
    path(f"{JOB}/retry", views.RetryView.as_view()),
    path(f"{JOB}/logs", views.LogsView.as_view()),
    path(f"{JOB}/results", views.ResultsView.as_view()),
    path(f"{JOB}/results/<uuid:result_id>/accept", views.AcceptView.as_view()),
    path(f"{JOB}/results/<uuid:result_id>/reject", views.RejectView.as_view()),
    path("statistics", views.StatisticsView.as_view()),
    path("export/results/<uuid:job_id>", views.ExportView.as_view()),
]
