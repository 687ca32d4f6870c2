{{- define "gptmock.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* At most 40 characters: suffixes follow, and a Job's pods need a few more. */}}
{{- define "gptmock.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "gptmock.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gptmock.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Call with (dict "root" $ "component" NAME). */}}
{{- define "gptmock.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gptmock.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "gptmock.releaseLabels" -}}
app.kubernetes.io/name: {{ include "gptmock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gptmock.labels" -}}
{{- $own := merge (include "gptmock.selectorLabels" . | fromYaml) (dict
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (default .root.Chart.AppVersion .root.Values.image.tag | trunc 63)
  "app.kubernetes.io/managed-by" .root.Release.Service) }}
{{- toYaml (merge $own .root.Values.commonLabels) }}
{{- end }}

{{- define "gptmock.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "gptmock.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "gptmock.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "gptmock.secretName" -}}
{{- default (printf "%s-secrets" (include "gptmock.fullname" .)) .Values.secrets.existingSecret }}
{{- end }}

{{- define "gptmock.valkeySecretName" -}}
{{- default (printf "%s-valkey" (include "gptmock.fullname" .)) .Values.valkey.existingSecret }}
{{- end }}

{{- /* The Secret and the key of the store's URL; empty when the URL is no secret, or there is none. */}}
{{- define "gptmock.storeSecret" -}}
{{- if .Values.valkey.enabled -}}
name: {{ include "gptmock.valkeySecretName" . }}
key: redis-url
{{- else if .Values.redis.existingSecret -}}
name: {{ .Values.redis.existingSecret }}
key: {{ .Values.redis.existingSecretKey }}
{{- end }}
{{- end }}

{{- define "gptmock.scheme" -}}
{{- ternary "HTTPS" "HTTP" (not (empty .Values.tls.existingSecret)) }}
{{- end }}

{{- /* Empty, or with a slash before it and none behind it. */}}
{{- define "gptmock.basePath" -}}
{{- with get .Values.config "GPTMOCK_BASE_PATH" | default "" | trimAll "/" }}/{{ . }}{{ end }}
{{- end }}

{{- define "gptmock.gracePeriod" -}}
{{- add .Values.shutdown.drainDelaySeconds .Values.shutdown.graceSeconds .Values.shutdown.marginSeconds }}
{{- end }}

{{- define "gptmock.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "gptmock.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The environment of the server, and of commands that use its store. */}}
{{- define "gptmock.env" -}}
- name: GPTMOCK_HOME
  value: /data
- name: GPTMOCK_ENCRYPTION_KEYS_FILE
  value: /etc/gptmock/secrets/encryption-keys
{{- if .Values.secrets.keys.pepper }}
- name: GPTMOCK_KEY_PEPPER_FILE
  value: /etc/gptmock/secrets/pepper
{{- end }}
{{- if include "gptmock.storeSecret" . }}
- name: GPTMOCK_REDIS_URL_FILE
  value: /etc/gptmock/secrets/redis-url
{{- else if .Values.redis.url }}
- name: GPTMOCK_REDIS_URL
  value: {{ .Values.redis.url | quote }}
{{- end }}
{{- range $name, $value := .Values.config }}
- name: {{ $name }}
  {{- /* All numbers are float64 here, and a large one would be written as 6.7e+07. */}}
  {{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ $value | int64 | quote }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gptmock.volumeMounts" -}}
- name: data
  mountPath: /data
- name: tmp
  mountPath: /tmp
- name: secrets
  mountPath: /etc/gptmock/secrets
  readOnly: true
{{- if .Values.redis.tlsSecret }}
- name: redis-tls
  mountPath: /etc/gptmock/redis-tls
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gptmock.volumes" -}}
- name: data
{{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ default (include "gptmock.fullname" .) .Values.persistence.existingClaim }}
{{- else }}
  emptyDir:
    sizeLimit: 64Mi
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
- name: secrets
  projected:
    defaultMode: 0400
    sources:
      - secret:
          name: {{ include "gptmock.secretName" . }}
          items:
            - key: {{ .Values.secrets.keys.encryptionKeys }}
              path: encryption-keys
            - key: {{ .Values.secrets.keys.adminKey }}
              path: admin-key
            {{- with .Values.secrets.keys.apiKey }}
            - key: {{ . }}
              path: api-key
            {{- end }}
            {{- with .Values.secrets.keys.pepper }}
            - key: {{ . }}
              path: pepper
            {{- end }}
      {{- with include "gptmock.storeSecret" . | fromYaml }}
      - secret:
          name: {{ .name }}
          items:
            - key: {{ .key }}
              path: redis-url
      {{- end }}
{{- with .Values.redis.tlsSecret }}
- name: redis-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0400
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Host names of the server: of the routes, those that were named, and then those of the Service too. */}}
{{- define "gptmock.allowedHosts" -}}
{{- $hosts := .Values.allowedHosts }}
{{- range include "gptmock.routeHosts" . | fromJsonArray }}
{{- if not (hasPrefix "*" .) }}{{ $hosts = append $hosts . }}{{ end }}
{{- end }}
{{- if $hosts }}
{{- $service := include "gptmock.fullname" . }}
{{- range list "" (printf ".%s" .Release.Namespace) (printf ".%s.svc" .Release.Namespace) (printf ".%s.svc.cluster.local" .Release.Namespace) }}
{{- $hosts = append $hosts (printf "%s%s" $service .) }}
{{- end }}
{{- end }}
{{- join "," (uniq $hosts) }}
{{- end }}

{{- define "gptmock.routeHosts" -}}
{{- $hosts := list }}
{{- if .Values.ingress.enabled }}{{ $hosts = concat $hosts .Values.ingress.hosts }}{{ end }}
{{- if .Values.httpRoute.enabled }}{{ $hosts = concat $hosts .Values.httpRoute.hostnames }}{{ end }}
{{- toJson $hosts }}
{{- end }}

{{- /* What no schema can say. */}}
{{- define "gptmock.validate" -}}
{{- $v := .Values }}
{{- if and $v.secrets.generate $v.secrets.existingSecret }}
{{- fail "secrets.generate and secrets.existingSecret exclude each other" }}
{{- end }}
{{- if not (or $v.secrets.generate $v.secrets.existingSecret) }}
{{- fail "the server needs an encryption key and an admin key: set secrets.existingSecret to the name of a Secret that has them, or secrets.generate=true" }}
{{- end }}
{{- range list "ADMIN_KEY" "API_KEY" "ENCRYPTION_KEYS" "KEY_PEPPER" "REDIS_URL" }}
{{- if or (hasKey $v.config (printf "GPTMOCK_%s" .)) (hasKey $v.config (printf "GPTMOCK_%s_FILE" .)) }}
{{- fail (printf "config.GPTMOCK_%s is a secret: put it into a Secret, see secrets and redis" .) }}
{{- end }}
{{- end }}
{{- range list "WEBHOOK_URL" "WEBHOOK_SECRET" }}
{{- if hasKey $v.config (printf "GPTMOCK_%s" .) }}
{{- fail (printf "config.GPTMOCK_%s is a secret: put it into a Secret, mount that with extraVolumes and extraVolumeMounts, and name the file in config.GPTMOCK_%s_FILE" . .) }}
{{- end }}
{{- end }}
{{- $secrets := list "ADMIN_KEY" "API_KEY" "ENCRYPTION_KEYS" "KEY_PEPPER" "REDIS_URL" "WEBHOOK_URL" "WEBHOOK_SECRET" }}
{{- range $v.extraEnv }}
{{- if and (has (trimPrefix "GPTMOCK_" .name) $secrets) (hasKey . "value") }}
{{- fail (printf "extraEnv has the secret %s as a plain value: put it into a Secret, and refer to that with valueFrom.secretKeyRef" .name) }}
{{- end }}
{{- end }}
{{- if regexMatch "(?i)password=" $v.redis.url }}
{{- fail "redis.url has a password: put the URL into a Secret, and name that in redis.existingSecret" }}
{{- end }}
{{- range include "gptmock.routeHosts" . | fromJsonArray }}
{{- if and (hasPrefix "*" .) (not $v.allowedHosts) }}
{{- fail (printf "the server cannot check hosts by the wildcard %s: name each host in allowedHosts" .) }}
{{- end }}
{{- end }}
{{- range list "HOME" "HOST" "PORT" "WORKERS" "DRAIN_DELAY" "SHUTDOWN_GRACE" "METRICS_BIND" "ALLOWED_HOSTS" "TLS_CERT" "TLS_KEY" "UNIX_SOCKET" }}
{{- if hasKey $v.config (printf "GPTMOCK_%s" .) }}
{{- fail (printf "config.GPTMOCK_%s is computed by the chart: use workers, shutdown, metrics, allowedHosts or tls" .) }}
{{- end }}
{{- end }}
{{- $stores := 0 }}
{{- range list $v.redis.url $v.redis.existingSecret $v.valkey.enabled $v.persistence.enabled }}
{{- if . }}{{ $stores = add1 $stores }}{{ end }}
{{- end }}
{{- if ne (int $stores) 1 }}
{{- fail (printf "choose one store, not %d: redis.url, redis.existingSecret, valkey.enabled, or persistence.enabled for one pod" (int $stores)) }}
{{- end }}
{{- if $v.persistence.enabled }}
{{- if or (gt (int $v.replicaCount) 1) $v.autoscaling.enabled }}
{{- fail "persistence.enabled is the embedded store of one pod: set replicaCount=1 and autoscaling.enabled=false, or use redis or valkey" }}
{{- end }}
{{- if $v.login.enabled }}
{{- fail "login.enabled needs redis or valkey: a Job cannot use the volume of the server. Sign in with: kubectl exec -it deploy/NAME -- gptmock login --headless" }}
{{- end }}
{{- end }}
{{- if $v.autoscaling.enabled }}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) }}
{{- fail "autoscaling.minReplicas is greater than autoscaling.maxReplicas" }}
{{- end }}
{{- if not (or $v.autoscaling.targetCPUUtilizationPercentage $v.autoscaling.metrics) }}
{{- fail "autoscaling.enabled needs targetCPUUtilizationPercentage or metrics" }}
{{- end }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}
{{- fail "ingress.enabled needs ingress.hosts" }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs" }}
{{- end }}
{{- end }}
