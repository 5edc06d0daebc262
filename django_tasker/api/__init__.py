"""REST: `path("api/", include("django_tasker.api.urls"))`.

Every error is a problem document (RFC 9457) with a `code` and, where a value is at fault, its `path`. Permissions are
Django's own, asked for by each action; nothing is open to anonymous users. What tasks mean is the facade's business.
"""
