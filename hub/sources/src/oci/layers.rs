//! Which layers of an artifact are files, and how.

use bytes::Bytes;

use super::manifest::{Descriptor, Manifest};
use crate::{
    Artifact, SourceError,
    archive::{self, Packing},
    artifact::{Tree, clean_path},
    helm::chart_of,
    settings::Limits,
};

const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// A chart's signature stands beside it; it is no content.
const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";
const TITLE: &str = "org.opencontainers.image.title";
/// What ORAS says of a folder that it has packed.
const UNPACK: &str = "io.deis.oras.content.unpack";

/// A layer that holds files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer<'a> {
    pub descriptor: &'a Descriptor,
    kind: Kind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Chart,
    Archive(Packing),
    /// One file, by its name.
    File(&'a str),
}

impl Layer<'_> {
    pub fn is_chart(&self) -> bool {
        self.kind == Kind::Chart
    }
}

/// Returns the layers that hold files.
///
/// # Errors
///
/// If there are none, or one is of a kind that is not known: an artifact is taken as a whole or not.
pub(super) fn wanted(manifest: &Manifest) -> Result<Vec<Layer<'_>>, SourceError> {
    let mut layers = Vec::new();
    for descriptor in &manifest.layers {
        let title = descriptor.annotations.get(TITLE);
        let packed = descriptor
            .annotations
            .get(UNPACK)
            .is_some_and(|it| it == "true");
        let kind = match (descriptor.media_type.as_str(), title) {
            (PROVENANCE, _) => continue,
            (CHART, _) => Kind::Chart,
            (_, Some(title)) if !packed => Kind::File(title),
            (media_type, _) => match packing(media_type) {
                Some(packing) => Kind::Archive(packing),
                None => {
                    return Err(SourceError::Unsupported {
                        what: format!("a layer of type {media_type:?}"),
                        why: "layers are charts, tar or tar+gzip archives, or files with a title"
                            .to_owned(),
                    });
                }
            },
        };
        layers.push(Layer { descriptor, kind });
    }
    if layers.is_empty() {
        return Err(SourceError::NotFound {
            what: "any layer in the artifact".to_owned(),
        });
    }
    Ok(layers)
}

fn packing(media_type: &str) -> Option<Packing> {
    if media_type.ends_with(".tar+gzip") || media_type.ends_with(".tar.gzip") {
        return Some(Packing::TarGzip);
    }
    media_type.ends_with(".tar").then_some(Packing::Tar)
}

/// Makes an artifact of the layers that hold files, whose contents come in the same order.
pub(super) fn unpack(
    manifest: &Manifest,
    blobs: &[Bytes],
    revision: String,
    path: &str,
    limits: &Limits,
) -> Result<Artifact, SourceError> {
    let layers = wanted(manifest)?;
    if let ([layer], [archive]) = (layers.as_slice(), blobs)
        && layer.is_chart()
    {
        if !path.is_empty() {
            return Err(SourceError::Invalid {
                field: "path",
                why: "the artifact is a Helm chart, which is taken whole".to_owned(),
            });
        }
        return chart_of(archive, revision, limits);
    }
    let mut tree = Tree::new(limits);
    for (layer, blob) in layers.iter().zip(blobs) {
        add(layer, blob, limits, &mut tree)?;
    }
    tree.into_artifact(revision, path)
}

fn add(
    layer: &Layer<'_>,
    blob: &Bytes,
    limits: &Limits,
    tree: &mut Tree<'_>,
) -> Result<(), SourceError> {
    let what = format!("the layer {}", layer.descriptor.digest);
    match layer.kind {
        Kind::Chart => archive::unpack(&what, blob, Packing::TarGzip, limits, tree),
        Kind::Archive(packing) => archive::unpack(&what, blob, packing, limits, tree),
        Kind::File(title) => tree.add(clean_path(title.as_bytes(), limits)?, blob.clone(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(layers: &serde_json::Value) -> Result<Vec<String>, SourceError> {
        let body = serde_json::json!({"schemaVersion": 2, "layers": layers}).to_string();
        let manifest = Manifest::read("m", body.as_bytes())?;
        let layers = wanted(&manifest)?;
        Ok(layers
            .iter()
            .map(|layer| format!("{:?}", layer.kind))
            .collect())
    }

    fn layer(media_type: &str, annotations: &serde_json::Value) -> serde_json::Value {
        let digest = format!("sha256:{}", "0".repeat(64));
        serde_json::json!(
            {"mediaType": media_type, "digest": digest, "size": 1, "annotations": annotations}
        )
    }

    #[test]
    fn layers_are_what_helm_flux_and_oras_write() {
        let none = serde_json::json!({});
        let title = serde_json::json!({TITLE: "a.tar"});
        let folder = serde_json::json!({TITLE: "deploy", UNPACK: "true"});
        let oci = "application/vnd.oci.image.layer.v1.tar";
        for (media_type, annotations, kind) in [
            (CHART, &none, "Chart"),
            (
                "application/vnd.cncf.flux.content.v1.tar+gzip",
                &none,
                "Archive(TarGzip)",
            ),
            (&*format!("{oci}+gzip"), &none, "Archive(TarGzip)"),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                &none,
                "Archive(TarGzip)",
            ),
            (oci, &none, "Archive(Tar)"),
            // ORAS gives this type to any file.
            (oci, &title, "File(\"a.tar\")"),
            (&*format!("{oci}+gzip"), &folder, "Archive(TarGzip)"),
        ] {
            let layers = serde_json::json!([layer(media_type, annotations)]);
            assert_eq!(kinds(&layers).expect(media_type), [kind]);
        }
        let signed = serde_json::json!([layer(CHART, &none), layer(PROVENANCE, &none)]);
        assert_eq!(kinds(&signed).expect("a signed chart"), ["Chart"]);
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_type() {
        let none = serde_json::json!({});
        let zstd = layer("application/vnd.oci.image.layer.v1.tar+zstd", &none);
        let error = kinds(&serde_json::json!([zstd])).expect_err("zstd");
        assert!(error.to_string().contains("tar+zstd"), "{error}");
        assert_eq!(
            kinds(&serde_json::json!([])).expect_err("empty").reason(),
            "NotFound"
        );
        let odd = serde_json::json!([{"mediaType": CHART, "digest": "md5:0", "size": 1}]);
        assert_eq!(kinds(&odd).expect_err("md5").reason(), "Malformed");
    }
}
