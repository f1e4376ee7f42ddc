# One image; what a container does is its command: web (the default), worker or beat. See compose.yaml.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install -r requirements.txt

FROM python:3.11-slim
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    SHOPSYNC_ENV=production
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin shopsync
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
# The settings ask for what the command does not use; nothing of it stays in the image.
RUN SECRET_KEY=build FIELD_KEYS=build DIGEST_KEY=build SHOPIFY_API_SECRET=build \
    DATABASE_URL=postgresql://build@localhost/build REDIS_URL=redis://localhost/0 \
    python manage.py collectstatic --noinput
# A new volume takes over the owner of the folder that it is mounted on.
RUN install -d -o shopsync -m 0750 /var/lib/shopsync/media
USER shopsync
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["python", "-m", "config.probe"]
CMD ["gunicorn", "config.wsgi:application", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", \
     "--workers", "2", "--threads", "8", "--worker-tmp-dir", "/dev/shm", "--graceful-timeout", "30", \
     "--no-control-socket"]
