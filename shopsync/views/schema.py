"""What OpenAPI is told beyond the views: both ways to authenticate, and the problem documents."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """`Authorization: Api-Key SECRET`."""

    target_class = "shopsync.auth.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Describe the header."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "A merchant's system's key: `Api-Key <key>`. Keys are made in the admin, and shown once.",
        }


class TenantTokenScheme(OpenApiAuthenticationExtension):
    """`Authorization: Bearer TOKEN`."""

    target_class = "shopsync.auth.TenantJWTAuthentication"
    name = "Token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Describe the header."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A person's access token for one tenant, from POST /api/v1/auth/token.",
        }


_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong and what to do"},
        "errors": {"type": "object", "description": "by field or parameter", "additionalProperties": {}},
    },
}


def add_problems(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Say of every operation that whatever it refuses comes as a problem document (a drf-spectacular hook)."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    sentence = "Refused, and why: 400 is what was sent (`errors` by field), 409 how things stand"
    for path in result.get("paths", {}).values():
        for operation in path.values():
            operation["responses"]["default"] = {"description": sentence, "content": content}
    return result
