"""Reports: what a study found, as a page, as tables, as sentences.

Depends on: jinja2, plotly. Everything but `describe_environment` is a pure function of
the API's JSON.
"""

from stillhouse_service.report.environment import describe_environment
from stillhouse_service.report.facts import Facts
from stillhouse_service.report.forms import Form, render
from stillhouse_service.report.importance_csv import importance_csv
from stillhouse_service.report.importance_parquet import importance_parquet
from stillhouse_service.report.page import render_html, render_importance_html

__all__ = [
    "Facts",
    "Form",
    "describe_environment",
    "importance_csv",
    "importance_parquet",
    "render",
    "render_html",
    "render_importance_html",
]
