# One image for every process. docker-compose.yml says which one runs. Nothing is compiled, because every package is a
# wheel.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1
RUN python -m venv --without-pip /venv
WORKDIR /app
COPY requirements/production.txt requirements/production.txt
RUN python -m pip --python /venv/bin/python install --only-binary :all: --require-hashes -r requirements/production.txt
# .dockerignore lists the files that are copied.
COPY . .
# The settings require these three variables. collectstatic does not use them, and the image does not keep them.
RUN SECRET_KEY=of-the-build-only-0123456789-abcdefghijklmnopqrstuvwxyz DATABASE_URL=postgresql://nobody@127.0.0.1:1/none REDIS_URL=redis://127.0.0.1:1/0 \
    /venv/bin/python manage.py collectstatic --noinput \
    && python -m compileall -q /app

FROM ${PYTHON}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin platform
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
EXPOSE 8000
