{{- define "convoke.name" -}}
{{- printf "%s" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "convoke.selector" -}}
app.kubernetes.io/name: convoke
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "convoke.labels" -}}
{{ include "convoke.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "convoke.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if hasPrefix "@" $tag }}{{ .Values.image.repository }}{{ $tag }}{{ else }}{{ .Values.image.repository }}:{{ $tag }}{{ end -}}
{{- end }}
