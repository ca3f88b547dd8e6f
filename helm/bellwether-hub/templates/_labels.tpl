{{- define "labels" -}}
app.kubernetes.io/name: bellwether-hub
app.kubernetes.io/part-of: bellwether
{{- end -}}
