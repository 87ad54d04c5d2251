"""The steps of `page.py` in their order; later ones use what earlier ones stored."""

import page_edges as edges
import page_use as use

STEPS = [
    use.signing_in,
    use.making_buckets,
    use.uploading,
    use.large_upload,
    use.cancelling,
    use.walking,
    use.looking,
    use.sharing,
    use.versions,
    use.deleting,
    edges.strange_names,
    edges.signatures,
    edges.missing_shards,
    edges.lesser_keys,
    edges.troubles,
    edges.plain_http,
    edges.other_eyes,
    edges.keyboard,
    edges.secrecy,
]
