# Cargo's records of the linked crates → a CycloneDX document.
def sums: $checksums | split("\n") | map(split("\t") | {key: "\(.[0]) \(.[1])", value: .[2]}) | from_entries;
def purl: "pkg:cargo/\(.name)@\(.version | gsub("[+]"; "%2B"))";
def ours: select(.name == "bastion-migrate");
def openssl_ref: "pkg:generic/openssl@\($openssl)";
def libssh2_ref: "pkg:github/libssh2/libssh2@\($tree)";

sums as $sums
| {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
        timestamp: $time,
        component: {
            type: "application", "bom-ref": "bastion-migrate", name: "bastion-migrate", version: $version,
            licenses: [{expression: "MIT OR Apache-2.0"}],
            properties: [{name: "bastion-migrate:revision", value: $revision}]
        }
    },
    components: (
        [.[] | select(.name != "bastion-migrate")
            | {type: "library", "bom-ref": purl, name, version, purl: purl}
                + (if .license then {licenses: [{expression: (.license | gsub("/"; " OR "))}]} else {} end)
                + ($sums["\(.name) \(.version)"] as $sum | if $sum then {hashes: [{alg: "SHA-256", content: $sum}]} else {} end)]
        + [
            {
                type: "library", "bom-ref": openssl_ref, name: "openssl", version: $openssl, purl: openssl_ref,
                cpe: "cpe:2.3:a:openssl:openssl:\($openssl):*:*:*:*:*:*:*",
                licenses: [{expression: "Apache-2.0"}],
                description: "The sources in the crate openssl-src, compiled and linked in"
            },
            {
                type: "library", "bom-ref": libssh2_ref, name: "libssh2", version: $libssh2,
                cpe: "cpe:2.3:a:libssh2:libssh2:\($libssh2):*:*:*:*:*:*:*",
                licenses: [{expression: "BSD-3-Clause"}],
                description: "The sources in the crate libssh2-sys, a development snapshot, compiled and linked in",
                properties: [
                    {name: "bastion-migrate:git-tree", value: $tree},
                    {name: "bastion-migrate:submodule-of", value: "https://github.com/rust-lang/ssh2-rs/tree/\($binding)/libssh2-sys/libssh2"}
                ]
            }
        ]),
    dependencies: [
        {ref: "bastion-migrate", dependsOn: ([.[] | select(.name != "bastion-migrate") | purl] | sort)},
        {ref: (.[] | select(.name == "openssl-src") | purl), dependsOn: [openssl_ref]},
        {ref: (.[] | select(.name == "libssh2-sys") | purl), dependsOn: [libssh2_ref]}
    ],
    vulnerabilities: [
        $fixes | split("\n")[] | select(test("^CVE")) | split("\t")
        | {
            id: .[0], source: {name: "NVD", url: "https://nvd.nist.gov/vuln/detail/\(.[0])"},
            analysis: {state: "resolved", detail: "Fixed in libssh2 by commit \(.[1]); the fix is in the linked sources (\(.[2]))"},
            affects: [{ref: libssh2_ref}]
        }]
}
