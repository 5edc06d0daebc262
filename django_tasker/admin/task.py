"""The admin of tasks: list, actions, the page of one task, its log, and adding one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import DuplicateTask, InvalidQuery, InvalidTask
from ..facade import tasker
from ..models import Task
from ..statuses import Status
from . import action_views, adding, columns, editing, filters, pages, pauses, searching
from .actions import ACTIONS
from .base import TaskModelAdmin
from .paging import BoundedPaginator, TaskChangeList


@admin.register(Task)
class TaskAdmin(columns.TaskColumns, TaskModelAdmin):
    """Shows tasks and steers them; what it does goes through `tasker`, so workers and listeners hear of it."""

    form = adding.AddForm
    list_display = (
        *("task_name", "status_shown", "priority_shown", "progress_shown", "attempts_shown", "log_shown"),
        *("duration_shown", "added_shown", "ended_shown", "worker_shown"),
    )
    list_filter = (
        *(filters.OperationFilter, filters.QueueFilter, filters.WorkerFilter, filters.WaitsFilter),
        *(filters.TroubleFilter, filters.PriorityFilter, filters.AddedFilter, filters.EndedFilter),
    )
    search_fields = ("operation",)
    search_help_text = gettext_lazy(
        'Words of names, data or errors; a uuid; or a JSON query like {"status": "failed", "data.book": 7}'
    )
    actions = (*(action_views.menu_function(action) for action in ACTIONS.values()), pauses.pause)
    list_per_page = 50
    list_max_show_all = 500
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    fieldsets = (
        (None, {"fields": ("operation", "data")}),
        (
            gettext_lazy("Options"),
            {"fields": ("priority", "queue", "run_at", "max_attempts", "run_timeout", "unique_key")},
        ),
    )

    class Media:
        css: ClassVar[dict[str, Sequence[str]]] = {"all": ("django_tasker/tasker.css",)}
        js = (Script("django_tasker/live.js", type="module"),)

    # -- who may ------------------------------------------------------------------------------------------------------

    def has_abort_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return self._has(request, "abort")

    def has_prioritize_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return self._has(request, "prioritize")

    def has_retry_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return self._has(request, "retry")

    def has_pause_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return self._has(request, "pause")

    def _has(self, request: HttpRequest, ability: str) -> bool:
        """An ability of its own, for someone who may see tasks at all."""
        may = request.user.has_perm(f"{self.opts.app_label}.{ability}_task")
        return may and self.has_view_or_change_permission(request)

    # -- the list -----------------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TaskChangeList]:
        return TaskChangeList

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Waiting tasks as they will run, all others newest first."""
        return ("priority", "id") if request.GET.get("status__exact") == Status.NEW else ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Task], search_term: str
    ) -> tuple[QuerySet[Task], bool]:
        try:
            return searching.search(queryset, search_term), False
        except InvalidQuery as error:
            self.message_user(request, str(error), messages.ERROR)
            return queryset.none(), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST":
            action_views.refuse_forged(self, request)
        extra = {"title": _("Tasks"), "tasker_dashboard_url": self.site_url("app_list", app_label=self.opts.app_label)}
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    # -- one task -----------------------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Task | None:
        """By key, or by uuid, which is what people have at hand."""
        uuid = searching.as_uuid(object_id)
        if uuid is not None and from_field is None:
            return self.get_queryset(request).filter(uuid=uuid).first()
        return super().get_object(request, object_id, from_field)

    def not_found(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the list, with a message: a task may be pruned while somebody looks at its page."""
        self.message_user(request, _("There is no task %(id)s (any more).") % {"id": object_id}, messages.WARNING)
        return HttpResponseRedirect(self.url("changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return pages.task_page(self, request, object_id, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return action_views.on_object(self, request, object_id, "delete")

    def delete_model(self, request: HttpRequest, obj: Task) -> None:
        tasker.delete_tasks(Q(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        tasker.delete_tasks(Q(pk__in=list(queryset.values_list("pk", flat=True))))

    # -- adding -------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Task, form: Any, change: bool) -> None:
        if change:
            raise PermissionDenied
        added = adding.add(form, request.user.get_username())
        obj.__dict__.update(added.__dict__)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            # Saving leads to the new task's page in any case.
            return super().add_view(request, form_url, {"show_save_and_continue": False, **(extra_context or {})})
        except (DuplicateTask, InvalidTask) as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.url("add"))

    def response_add(self, request: HttpRequest, obj: Task, post_url_continue: str | None = None) -> HttpResponse:
        """To the new task's page, where one sees it run."""
        if IS_POPUP_VAR in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.message_user(request, _("Task %(task)s was added.") % {"task": obj}, messages.SUCCESS)
        return HttpResponseRedirect(self.url("change", obj.pk))

    # -- addresses ----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("<path:object_id>/log/", wrap(partial(pages.log_page, self)), name="django_tasker_task_log"),
            path("<path:object_id>/logs/", wrap(partial(pages.logs_entries, self)), name="django_tasker_task_logs"),
            path(
                "<path:object_id>/logs/download/",
                wrap(partial(pages.logs_download, self)),
                name="django_tasker_task_logs_download",
            ),
            path("<path:object_id>/logs/index/", wrap(partial(pages.logs_index, self))),
            path("<path:object_id>/logs/search/", wrap(partial(pages.logs_search, self))),
            path(
                "<path:object_id>/json/<slug:name>/",
                wrap(partial(pages.json_file, self)),
                name="django_tasker_task_json",
            ),
            path("<path:object_id>/edit/", wrap(partial(editing.edit, self)), name="django_tasker_task_edit"),
            path("pause/", wrap(partial(pauses.view, self)), name="django_tasker_task_pause"),
            path(
                "<path:object_id>/do/<slug:name>/",
                wrap(partial(action_views.on_object, self)),
                name="django_tasker_task_do",
            ),
        ]
        return own + super().get_urls()

    def url(self, name: str, *args: Any) -> str:
        """The address of one of the pages of tasks on the site that this admin belongs to."""
        return self.site_url(f"{self.opts.app_label}_{self.opts.model_name}_{name}", *args)

    def site_url(self, name: str, *args: Any, **kwargs: Any) -> str:
        return reverse(f"admin:{name}", args=args, kwargs=kwargs, current_app=self.admin_site.name)
