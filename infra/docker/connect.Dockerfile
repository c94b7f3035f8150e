# Kafka Connect with Debezium and the Avro converter: the stack's Kafka and the same jars as infra/local/poms/debezium.xml. Build it
# from the project's root:
#   docker build -f infra/docker/connect.Dockerfile -t millrace-connect:0.1.0 .
FROM maven:3.9.11-eclipse-temurin-21 AS jars
WORKDIR /build
COPY infra/local/poms/debezium.xml pom.xml
RUN mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory=/plugins/debezium

FROM apache/kafka:4.3.1
COPY --from=jars --chown=appuser /plugins /opt/connect/plugins
# The converter has no plug-in manifest, and the worker searches only manifests (plugin.discovery).
RUN /opt/kafka/bin/connect-plugin-path.sh sync-manifests --plugin-path /opt/connect/plugins
COPY --chown=appuser infra/docker/connect.properties /opt/connect/connect.properties
EXPOSE 8083
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/kafka/bin/connect-distributed.sh", "/opt/connect/connect.properties"]
