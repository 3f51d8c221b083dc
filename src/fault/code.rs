//! All fault codes: exit class, usual stage, usual fix. A new kind of failure is a new row here and a section in
//! `docs/errors.md`, which a test demands.

use super::Stage;
use std::fmt;

/// The exit class of a fault, which a workflow can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// 2: the inputs, secrets or files are wrong; nothing was touched.
    Configuration,
    /// 3: the bastion or the database could not be reached, or refused the login.
    Connection,
    /// 4: another run holds the lock.
    Lock,
    /// 5: the plan was refused; nothing was changed, unless files or tenants changed during the run.
    PlanRefused,
    /// 6: a migration failed.
    MigrationFailed,
    /// 7: the ledger is not as expected.
    VerificationFailed,
    /// 8: the connection was lost around a commit and could not be restored.
    InDoubt,
    /// 130: stopped by a signal or by `timeout`.
    Cancelled,
    /// 101: a defect of bastion-migrate itself.
    Bug,
}

impl Class {
    /// All classes, for documentation and tests.
    pub const ALL: &'static [Self] = &[
        Self::Configuration,
        Self::Connection,
        Self::Lock,
        Self::PlanRefused,
        Self::MigrationFailed,
        Self::VerificationFailed,
        Self::InDoubt,
        Self::Cancelled,
        Self::Bug,
    ];

    /// Returns the exit code of the process.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Configuration => 2,
            Self::Connection => 3,
            Self::Lock => 4,
            Self::PlanRefused => 5,
            Self::MigrationFailed => 6,
            Self::VerificationFailed => 7,
            Self::InDoubt => 8,
            Self::Cancelled => 130,
            Self::Bug => 101,
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $class:ident $stage:ident $fix:literal;)*) => {
        /// The kind of failure: stable, printed in brackets, the anchor in `docs/errors.md`, the output `fault-code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All codes, in the order of the run.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the code as users see it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the exit class.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// Returns the stage in which the fault usually happens.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)* }
            }

            /// Returns the usual fix.
            #[must_use]
            pub fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

codes! {
    /// A required input has no value.
    InputMissing "input-missing" Configuration Inputs "set the input; if it comes from a secret, check that the job names the secret's `environment:`, that the call of a reusable workflow maps the secret by its name, and that the event is not a pull request from a fork, which gets no secrets";
    /// An input has a value that can't be used.
    InputInvalid "input-invalid" Configuration Inputs "correct the input's value";
    /// The file in `schema-file` can't be used.
    SchemaFile "schema-file" Configuration Inputs "write the file by running the same inputs with `command: status`, and commit it";
    /// An input, flag or configuration key that does not exist.
    InputUnknown "input-unknown" Configuration Inputs "remove it, or use the name that exists";
    /// The database URL can't be read.
    DatabaseUrlInvalid "database-url-invalid" Configuration Inputs "write it as postgres://user:password@host:5432/database, with special characters in the password percent-encoded, or give database-host, database-user, database-password and database-name instead";
    /// The configuration file can't be read.
    ConfigInvalid "config-invalid" Configuration Inputs "correct the file named by `config`";
    /// The private key can't be read.
    KeyInvalid "key-invalid" Configuration Inputs "put the whole private key file into the secret, first and last line included";
    /// The private key needs a passphrase, or another one.
    KeyPassphrase "key-passphrase" Configuration Inputs "set `ssh-passphrase` to the key's passphrase";
    /// The text in `ssh-certificate` is not a user's certificate.
    CertificateInvalid "certificate-invalid" Configuration Inputs "put the content of the `-cert.pub` file that the CA made into `ssh-certificate`";
    /// The certificate belongs to another key.
    CertificateKey "certificate-key" Configuration Inputs "set `ssh-private-key` to the key that was signed, or let the CA sign the public half of this one";
    /// The certificate has ended.
    CertificateExpired "certificate-expired" Configuration Inputs "let the CA sign the key again, in a step of the same job right before this one; if the certificate is new, correct the clock of the runner";
    /// The certificate is not valid yet.
    CertificateNotYetValid "certificate-not-yet-valid" Configuration Inputs "correct the clock of the runner or of the CA, or let the CA sign the key from now on (`not_before_duration` in Vault)";
    /// The certificate forbids what this run needs, or has an option that no server accepts.
    CertificateOptions "certificate-options" Configuration Inputs "let the CA sign the key without this option";
    /// `ssh-known-hosts` or `ssh-fingerprint` can't be read.
    PinInvalid "pin-invalid" Configuration Inputs "paste the line exactly as ssh-keyscan or this action printed it";
    /// The CA in `database-ca` can't be read.
    CaInvalid "ca-invalid" Configuration Inputs "put the CA certificate in PEM form into `database-ca`";
    /// The client certificate or its key can't be used.
    ClientCertInvalid "client-cert-invalid" Configuration Inputs "put the certificate into `database-cert` and its private key into `database-key`, both in PEM form, first and last line included";
    /// The client certificate has expired, or is not valid yet.
    ClientCertExpired "client-cert-expired" Configuration Inputs "issue a new certificate, and put it into `database-cert`";

    /// The bastion's name has no address.
    BastionUnknown "bastion-unknown" Connection Bastion "check the spelling of `ssh-host`; the runner must be able to resolve it";
    /// No process listens on the bastion's port.
    BastionRefused "bastion-refused" Connection Bastion "check `ssh-port`, that sshd runs, and the bastion's firewall";
    /// No process listens at the port of the runner that `via` names.
    ViaRefused "via-refused" Connection Database "check that the step that opens the tunnel comes before this one in the same job, leaves it running in the background, and waits until it listens";
    /// The command of `via` can't be started.
    ViaNotStarted "via-not-started" Connection Database "name a program that is there, with its whole path";
    /// The command of `via` ended, and its stream with it.
    ViaFailed "via-failed" Connection Database "run the command by hand with the same credentials; its standard error is in the log";
    /// The proxy can't be reached, or does not speak its protocol.
    ProxyFailed "proxy-failed" Connection Bastion "check the scheme, the host and the port in `ssh-proxy`, and that the runner may reach it";
    /// The proxy requires a login, or does not accept it.
    ProxyLogin "proxy-login" Connection Bastion "write the login into the URL of the proxy, as in `socks5://user:password@host:port`, with special characters percent-encoded, and keep it in a secret";
    /// The proxy opens no connection to the first hop.
    ProxyTarget "proxy-target" Connection Bastion "check `ssh-host` and `ssh-port`, which the proxy resolves and dials, and that its rules allow this port: many allow 443 alone";
    /// The bastion did not respond in time.
    BastionTimeout "bastion-timeout" Connection Bastion "check the bastion's firewall for the runner's address, or raise `connect-timeout`";
    /// The other end does not speak SSH.
    BastionNotSsh "bastion-not-ssh" Connection Bastion "check that `ssh-port` is sshd's port";
    /// No common algorithm, or the transport broke while it was set up.
    BastionHandshake "bastion-handshake" Connection Bastion "see the bastion's sshd log; an sshd older than OpenSSH 7.2 may lack every algorithm that is safe today";
    /// There is no pin for this host.
    HostKeyUnpinned "host-key-unpinned" Connection Bastion "compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then put the line shown into `ssh-known-hosts`";
    /// The host key is not the pinned one.
    HostKeyMismatch "host-key-mismatch" Connection Bastion "find out why before you change anything: a reinstalled server has a new key, and so has an impostor; if it is right, replace the line in `ssh-known-hosts`";
    /// The host key is marked `@revoked`.
    HostKeyRevoked "host-key-revoked" Connection Bastion "do not connect: this key was declared compromised; give the server a new host key and pin that";
    /// The host has no certificate of the CA in `known_hosts`.
    HostKeyAuthority "host-key-authority" Connection Bastion "see which CA has signed the host's key (`ssh-keygen -L` on the file that `HostCertificate` in its sshd_config names), and put that CA's public key into the @cert-authority line, or pin the host's own key in `ssh-known-hosts`";
    /// The host's certificate does not count.
    HostCertificate "host-certificate" Connection Bastion "let the CA sign the host's key again, with the name in `ssh-host` as a principal (`ssh-keygen -s ca -I id -h -n NAME -V +52w host_key.pub`), or pin the host's own key in `ssh-known-hosts` as well";
    /// No login method was accepted.
    BastionLogin "bastion-login" Connection Bastion "check `ssh-user`, and that the public half of `ssh-private-key` is in that user's authorized_keys, or that the password is right";
    /// The certificate is for other users.
    CertificatePrincipal "certificate-principal" Connection Bastion "let the CA sign the key for the user in `ssh-user`";
    /// The server does not accept the certificate.
    CertificateRefused "certificate-refused" Connection Bastion "see that `TrustedUserCAKeys` in the server's sshd_config names a file with this CA's public key, that `RevokedKeys` names neither the key nor the certificate, and sshd's log, which has the reason";
    /// The server runs no commands for this login.
    ExecRefused "exec-refused" Connection Bastion "let this login run commands: see what the server's SSH service allows it, or use another login";
    /// The server opens no channel for a command.
    ExecNoChannel "exec-no-channel" Connection Bastion "set `MaxSessions` in the server's sshd_config to 10, its default, or remove the line";
    /// The login on the server has no shell that can be used.
    ServerNoShell "server-no-shell" Configuration Bastion "give the login a shell (`chsh -s /bin/sh` there) and see that no `ForceCommand` or `command=` is in its way, or use another login";
    /// The login's home directory can't hold the files that a run keeps there.
    ServerHome "server-home" Configuration Bastion "give the login a home directory that it may write to, with room in it; see `df ~` on the server, and the owner of `~/.bastion-migrate`";
    /// The server has no program that lets a command outlive the connection.
    ServerNoSetsid "server-no-setsid" Configuration Bastion "install util-linux (it has `setsid`) or perl on the server";
    /// The command on the server could not be stopped.
    ServerUnstopped "server-unstopped" MigrationFailed Migrate "look at the processes on the server (`ps -ef`): one in the state D waits for a disk or a network file system, and one of another user is not ours to end";
    /// The server forbids TCP forwarding.
    ForwardingForbidden "forwarding-forbidden" Connection Database "allow it on the bastion: `AllowTcpForwarding yes` and a `PermitOpen` that covers the database, or remove `no-port-forwarding`/`restrict` from the key's line in authorized_keys";
    /// The bastion can't resolve the database's name.
    DatabaseUnknown "database-unknown" Connection Database "check the host in `database-url`; it is resolved on the bastion, not on the runner";
    /// The database's port refuses the bastion's connection.
    DatabaseRefused "database-refused" Connection Database "check host and port of the database as seen from the bastion, its firewall or security group, and that PostgreSQL listens on that address";
    /// The database's host does not answer the bastion.
    DatabaseTimeout "database-timeout" Connection Database "check the firewall between bastion and database, or raise `wait-timeout`";
    /// The connection to the bastion broke.
    BastionLost "bastion-lost" Connection Database "see the bastion's sshd log and the network between; run again: applied migrations are in the ledger";
    /// The server is starting up, shutting down, or has no free connection.
    DatabaseUnready "database-unready" Connection Database "wait until the server accepts connections, or raise `wait-timeout`";
    /// The other end does not speak PostgreSQL.
    DatabaseNotPostgres "database-not-postgres" Connection Database "check `database-port`";
    /// User or password is wrong, or `pg_hba.conf` does not let this user in.
    DatabaseLogin "database-login" Connection Database "check user and password of the database, and that pg_hba.conf lets this user in from the bastion's address";
    /// The database does not exist.
    DatabaseMissing "database-missing" Connection Database "check the database name, or create the database first";
    /// TLS is required and the server does not offer it.
    TlsUnavailable "tls-unavailable" Connection Database "turn on TLS on the server, or set `database-sslmode: disable` if the network between bastion and database is trusted";
    /// The certificate can't be trusted.
    TlsUntrusted "tls-untrusted" Connection Database "put the CA that signed the server's certificate into `database-ca`";
    /// The certificate is for another host name.
    TlsWrongName "tls-wrong-name" Connection Database "use the name in the certificate as the database's host, or `database-sslmode: verify-ca` if the name can't match";
    /// The certificate or its CA has expired.
    TlsExpired "tls-expired" Connection Database "renew the certificate, or update `database-ca`";
    /// The server demands a client certificate, and none is given.
    ClientCertMissing "client-cert-missing" Connection Database "put the role's certificate into `database-cert` and its key into `database-key`; the server has `cert` or `clientcert` for this role in pg_hba.conf";
    /// The server does not trust the issuer of the client certificate.
    ClientCertUntrusted "client-cert-untrusted" Connection Database "issue the certificate from a CA in the server's `ssl_ca_file`, add the CA there, or put the intermediate certificates behind the first one in `database-cert`";
    /// The client certificate is on the server's revocation list.
    ClientCertRevoked "client-cert-revoked" Connection Database "issue a new certificate for a new key, and put them into `database-cert` and `database-key`; the server has revoked this one (`ssl_crl_file`)";
    /// The client certificate is for another role.
    ClientCertName "client-cert-name" Connection Database "use a certificate whose common name is the role, log in as the role in the certificate, or map one to the other on the server in pg_ident.conf";
    /// The job has no permission to get a token of its own.
    OidcUnavailable "oidc-unavailable" Configuration Database "give the job `permissions:` with `id-token: write`; a reusable workflow needs it in the calling job, too, and a pull request from a fork never gets it";
    /// No token for the log-in to the database can be had.
    TokenUnavailable "token-unavailable" Connection Database "see the answer of the cloud or the messages of the command, and correct `database-auth` or what it trusts";
    /// The token for the log-in has expired.
    TokenExpired "token-expired" Connection Database "renew the credentials from which it is made right before this step, or let `database-auth` get them by itself";
    /// The server does not accept the token for the log-in.
    TokenRefused "token-refused" Connection Database "let the role log in by a token: see docs/ways-in.md for its grant on the server and its permission in the cloud";
    /// The database is a read-only standby.
    DatabaseStandby "database-standby" Connection Database "use the primary's host name";
    /// The login role can't take `database-role`.
    DatabaseRole "database-role" Connection Database "correct `database-role`, or make the login role a member of it";
    /// A connection pooler is between this program and the server.
    DatabasePooler "database-pooler" Connection Database "use the direct port: usually 5432 instead of 6432 (PgBouncer) or 6543 (Supabase), 25060 instead of 25061 (DigitalOcean), the host without `-pooler` (Neon); or a pool in session mode";
    /// The server is older than the oldest supported version.
    DatabaseTooOld "database-too-old" Connection Database "upgrade PostgreSQL to 14 or newer";
    /// The connection to PostgreSQL broke.
    DatabaseLost "database-lost" Connection Database "see the server's log; run again: applied migrations are in the ledger";
    /// The server's messages can't be understood.
    DatabaseProtocol "database-protocol" Connection Database "find the proxy or pooler between the bastion and the server that changes their messages; run again: applied migrations are in the ledger";

    /// No Docker engine can be reached.
    EngineAbsent "engine-absent" Configuration Image "`executor: image` needs the Docker engine's socket of the runner's machine, which container actions get at /var/run/docker.sock; use a runner that has it, or an executor that needs no engine: `sql` or `server`";
    /// The process may not use the engine's socket.
    EngineForbidden "engine-forbidden" Configuration Image "let the user that the action runs as open /var/run/docker.sock; in a workflow that is root";
    /// The engine supports no version of the API that this program supports.
    EngineTooOld "engine-too-old" Configuration Image "upgrade Docker on the runner to version 20.10 or newer";
    /// The engine failed at something that usually works.
    EngineFailed "engine-failed" Configuration Image "see the engine's message, and its own log on the runner (journalctl -u docker)";
    /// The program can't find out which container it runs in.
    SelfUnknown "self-unknown" Configuration Image "run it as a step of a workflow, whose container shares its network with the tool's; where that is impossible, use `executor: sql`";
    /// The image is neither on the runner nor in the registry.
    ImageMissing "image-missing" Configuration Image "check the name and the tag in `image`, and that the job which builds and pushes it has run before";
    /// The registry refuses access to the image.
    ImageDenied "image-denied" Configuration Image "set `registry-username` and `registry-password` to an account that may pull it: the runner's own `docker login` is not visible to an action";
    /// The image is for another processor architecture.
    ImagePlatform "image-platform" Configuration Image "build the image for the runner's platform, too (`docker buildx build --platform linux/amd64,linux/arm64`)";
    /// The registry's pull limit is used up.
    ImageRateLimit "image-rate-limit" Connection Image "log in with `registry-username` and `registry-password`, or wait; see whether the registry has a mirror";
    /// The engine can't reach the registry.
    RegistryUnreachable "registry-unreachable" Connection Image "check the registry's name in `image`, and that the runner's machine can reach it";
    /// The tunnel's port can't be opened.
    ListenerUnavailable "listener-unavailable" Configuration Image "something else in the job's network uses the port; change the order of the steps, or the port";

    /// Another session holds the run lock.
    LockHeld "lock-held" Lock Lock "wait for the other run, or raise `lock-wait`; if its job is gone, the lock goes with its connection within seconds";
    /// The conditions of `start-when` do not hold.
    NotNow "not-now" Lock Plan "run again when they hold, or raise `lock-wait`, for which the run waits for them";
    /// A file released the run lock, and another session took it.
    LockLost "lock-lost" Lock Migrate "remove the calls that release advisory locks (pg_advisory_unlock_all, pg_advisory_unlock) from the files before this one; run again: applied migrations are in the ledger";

    /// The working directory is not on the server.
    ServerDirectoryMissing "server-directory-missing" Configuration Plan "set `working-directory` to the project's path on the server, as `pwd` shows it there";
    /// The login has no access to the working directory.
    ServerDirectoryForbidden "server-directory-forbidden" Configuration Plan "let the login into the project directory (`ls -la` on the server shows whose it is), or use its owner's login as `ssh-user`";
    /// A line of `setup` failed on the server.
    ServerSetupFailed "server-setup-failed" Configuration Plan "try the lines of `setup` on the server, in `working-directory`, with `bash -eu`";

    /// The migrations directory does not exist.
    FilesMissing "files-missing" Configuration Plan "check `migrations` and that actions/checkout ran before this step";
    /// The migrations directory contains no migration.
    FilesEmpty "files-empty" Configuration Plan "check `migrations`; files are named like 0001_create_users.sql";
    /// A subdirectory contains SQL files that are not read.
    FilesLeftOut "files-left-out" Configuration Plan "move migrations up into the directory, and other files out of it";
    /// A file or directory can't be read.
    FileUnreadable "file-unreadable" Configuration Plan "check the permissions of the file";
    /// A file is not UTF-8.
    FileNotUtf8 "file-not-utf8" Configuration Plan "save the file as UTF-8";
    /// A file's name can't be read as a migration.
    FileName "file-name" Configuration Plan "name it like 0001_create_users.sql";
    /// Two files have the same version.
    VersionDuplicate "version-duplicate" Configuration Plan "give one of the two another version";
    /// The files' dates have different lengths: tools that sort by text use another order.
    VersionOrder "version-order" Configuration Plan "write all dates with as many digits (20250625000000 for 20250625); a file that is applied keeps its name";
    /// A version is missing although `gaps: refuse` is set.
    VersionGap "version-gap" PlanRefused Plan "add the missing file, renumber, or set `gaps: allow`";
    /// A file contains a psql command.
    PsqlCommand "psql-command" Configuration Plan "write it in SQL: only psql itself understands backslash commands";
    /// A quote or a comment in a file is never closed, or text follows on the line where the rows of a COPY begin.
    FileSyntax "file-syntax" Configuration Plan "close the quote or the comment, or put the text on a line of its own";
    /// A file contains a section that undoes the migration.
    UndoSection "undo-section" Configuration Plan "move the section that undoes the migration out of the file: it would run right after the migration";
    /// A mark of the layout's tool is missing, unknown or in a wrong place.
    FileMarks "file-marks" Configuration Plan "correct the marks, as the layout's own tool requires them";
    /// A file is a template that the layout's tool fills in.
    FileTemplate "file-template" Configuration Plan "write the value itself in the place of the placeholder";
    /// A file begins or ends transactions itself.
    OwnTransaction "own-transaction" Configuration Plan "remove BEGIN and COMMIT: each file already runs in one transaction of its own";
    /// A file mixes statements that need a transaction with statements that can't run in one.
    MixedFile "mixed-file" Configuration Plan "put the statement into a file of its own";
    /// A statement that would break the run's own session.
    StatementRefused "statement-refused" Configuration Plan "remove the statement, or run it outside of the migration";
    /// An applied file was changed.
    FileChanged "file-changed" PlanRefused Plan "restore the file as it was applied, and put the change into a new file; if the schema is as the file is now, record that by `command: resolve` with its version as `target`, `resolve: applied` and the reason in `allow`";
    /// The ledger contains a version that has no file.
    FileMissing "file-missing" PlanRefused Plan "restore the file, or check out the branch that has it; if it was squashed, set `missing: ignore`";
    /// A migration that would be rolled back has no SQL that undoes it.
    NoWayBack "no-way-back" PlanRefused Plan "write the SQL that undoes it, as the layout has it; or roll back to a later `target`, or write a new migration that undoes the unwanted one";
    /// A pending migration is a program that only the layout's tool can run.
    ProgramPending "program-pending" PlanRefused Plan "run the migration with its own tool, and then run again";
    /// A new file sorts before one that is already applied.
    OutOfOrder "out-of-order" PlanRefused Plan "give the file a version after the newest applied one, or set `out-of-order: allow`";
    /// According to the ledger, an earlier run stopped inside this file.
    LedgerDirty "ledger-dirty" PlanRefused Plan "see which statements of the migration took effect; complete them by hand and run `command: resolve` with its version as `target`, `resolve: applied` and the reason in `allow`; or undo them, and run it with `resolve: not-applied`";
    /// Row security hides rows of the ledger.
    LedgerHidden "ledger-hidden" PlanRefused Plan "let the ledger's owner run `ALTER TABLE … DISABLE ROW LEVEL SECURITY`";
    /// The ledger, its schema, or a trigger or rule on it could run or be changed by another role.
    LedgerUntrusted "ledger-untrusted" PlanRefused Plan "let the migration role own the ledger, or be a member of the role that does";
    /// There is a ledger, but not where it is looked for.
    LedgerElsewhere "ledger-elsewhere" PlanRefused Plan "name the ledger in `ledger-table`, with its schema";
    /// This run's ledger is empty and another tool's is not.
    LedgerForeign "ledger-foreign" PlanRefused Plan "keep using the tool that the ledger belongs to, or name your own ledger in `ledger-table`";
    /// The other tool's ledger can't be taken over as it is.
    TakeoverRefused "takeover-refused" PlanRefused Plan "compare the files with the ledger that `from` names";
    /// The decision of `command: resolve` can't be recorded as it is.
    ResolveRefused "resolve-refused" PlanRefused Plan "decide about the migrations one by one, in their order";
    /// The files and the ledger fit two layouts.
    LayoutAmbiguous "layout-ambiguous" PlanRefused Plan "set `layout`";
    /// The ledger table has an unexpected shape.
    LedgerShape "ledger-shape" PlanRefused Plan "check `layout` and `ledger-table`";
    /// The list of tenants can't be used, or a tenant has no schema.
    TenantsInvalid "tenants-invalid" PlanRefused Plan "correct `tenants`, or what its query returns";
    /// The lint has a finding, and `lint` makes that an error.
    Lint "lint" PlanRefused Plan "change the statement, or accept the finding with a reason in `allow`";
    /// The plan is not the approved one.
    PlanChanged "plan-changed" PlanRefused Plan "look at the new plan, and approve its digest if it is right";
    /// The approved plan was made too long ago.
    PlanTooOld "plan-too-old" PlanRefused Plan "run `command: plan` again, and approve the new plan";
    /// The plan or the schema is not the rehearsed one.
    RehearsalOutdated "rehearsal-outdated" PlanRefused Plan "run `command: rehearse` again, look at its result, and pass its output `rehearsal-digest`";
    /// A statement has a higher risk than `risk` accepts.
    RiskTooHigh "risk-too-high" PlanRefused Plan "change the statement as its reasons suggest, or accept the risk in `risk`";
    /// A statement destroys data, and `risk` refuses that.
    Destructive "destructive" PlanRefused Plan "keep the data, or allow its loss with a reason in `allow`";
    /// `target` names no version that exists.
    TargetUnknown "target-unknown" Configuration Plan "set `target` to the version of a file";

    /// The copy for a rehearsal could not be made.
    RehearsalCopy "rehearsal-copy" Configuration Rehearse "see the cause: `rehearse` needs a server in the version of the database, and there a role that can create databases and roles";
    /// A statement does more on the copy than was forecast.
    ForecastContradicted "forecast-contradicted" PlanRefused Rehearse "decide by what was seen on the copy, not by the plan; write the statement so that it blocks nobody if that is too much";
    /// A migration of a tool that runs many statements of one form.
    StatementLoop "statement-loop" PlanRefused Rehearse "change all rows by one statement (in Django `bulk_update`, `update` or RunSQL), or move the work out of the migration";
    /// The migration failed on the copy.
    RehearsalFailed "rehearsal-failed" PlanRefused Rehearse "correct the migration, and rehearse it again: nothing was changed in the database itself";

    /// A statement failed.
    StatementFailed "statement-failed" MigrationFailed Migrate "correct the file and run again; the file was rolled back and files before it stay applied";
    /// A check that the file demands returned something else than true.
    CheckFailed "check-failed" MigrationFailed Migrate "look at the rows that the check finds; correct them, the file, or the check, and run again";
    /// The role has no right to execute a statement.
    PermissionDenied "permission-denied" MigrationFailed Migrate "grant the right to the role in `database-url`, or use the owner's role";
    /// A statement waited too long for a lock.
    LockTimeout "lock-timeout" MigrationFailed Migrate "run again when the blocking session has ended, or end it yourself; or raise `lock-timeout` or `retries`";
    /// A statement ran too long.
    StatementTimeout "statement-timeout" MigrationFailed Migrate "raise `statement-timeout`, or split the work";
    /// The tool's program is not in the image.
    ToolMissing "tool-missing" MigrationFailed Migrate "check that the image has the program, that `tool` or `run` call it by its right name, and `working-directory`";
    /// The tool uses another database than this run.
    ToolElsewhere "tool-elsewhere" PlanRefused Plan "let the app's settings read DATABASE_URL (or PGHOST, PGPORT, PGDATABASE and the rest), which the tool is given; another variable of the app's can be set with `env`";
    /// The tool's list of migrations can't be right.
    ToolList "tool-list" PlanRefused Plan "see the command and its output in the log: an entrypoint, a `command-prefix` or a wrapper in front of the tool has to pass on its arguments and its output unchanged";
    /// The database changed while the tool ran a command that only reads.
    ToolUnasked "tool-unasked" VerificationFailed Plan "remove migrations from the image's ENTRYPOINT and from the app's start-up: this step migrates, after it has made the plan; if another client changed the database meanwhile, run again";
    /// The backup that is asked for can't be made of this plan, or not here.
    BackupRefused "backup-refused" PlanRefused Backup "see the cause; set `backup: off` only if there is another backup that you trust";
    /// The backup was not completed, or could not be proven. Nothing was migrated.
    BackupFailed "backup-failed" PlanRefused Backup "see the cause and the output in the log, and run again: nothing was migrated, and no file passes for a backup";
    /// The tool failed.
    ToolFailed "tool-failed" MigrationFailed Migrate "see the tool's output in the log; migrations that it applied before are in its ledger";
    /// A step exceeded its own time limit.
    StepTimeout "step-timeout" MigrationFailed Migrate "raise the step's `timeout`, or see its output in the log for what it waited for";
    /// The health check never succeeded.
    Unhealthy "unhealthy" Connection Before "see the last output of the health check, which has to succeed before the migration begins; raise `retries` or `interval` of `health` if it only needs more time";
    /// The tool was killed.
    ToolKilled "tool-killed" MigrationFailed Migrate "find out who stopped the container; migrations that the tool applied before are in its ledger";
    /// The tool used more memory than there is.
    OutOfMemory "out-of-memory" MigrationFailed Migrate "raise `memory`, or use a runner with more of it; migrations that the tool applied before are in its ledger";
    /// A file ended its own transaction while it ran.
    TransactionEnded "transaction-ended" MigrationFailed Migrate "part of the file may be committed although nothing is recorded: compare the schema, then remove COMMIT and ROLLBACK from the file";
    /// A statement without a transaction may or may not have run.
    StatementInDoubt "statement-in-doubt" InDoubt Migrate "find out whether the statement took effect, and update the ledger with the SQL shown";
    /// The connection was lost around a commit and could not be restored.
    CommitInDoubt "commit-in-doubt" InDoubt Migrate "run again as soon as the database can be reached: the next run reads the committed migrations from the ledger";

    /// The ledger does not contain the applied migrations.
    VerifyLedger "verify-ledger" VerificationFailed Verify "compare the ledger with the files: something else changed it during the run";
    /// Migrations are pending although none should be.
    VerifyPending "verify-pending" VerificationFailed Verify "run `command: migrate`";
    /// The tool should keep a ledger, but there is none after it ran.
    LedgerAbsent "ledger-absent" VerificationFailed Verify "see the tool's output in the log: check that its command migrates at all, in the database that `database-url` names, and that `tool` is the right one; a ledger under another name is not recognised: use `tool: custom` with `run`, which needs none";
    /// The ledger has changed beyond the plan.
    VerifyUnplanned "verify-unplanned" VerificationFailed Verify "compare the ledger and the schema with the plan: the changes named above are not in the plan";
    /// A migration is in the schema and not in the ledger, or the other way round.
    MigrationUnrecorded "migration-unrecorded" VerificationFailed Migrate "compare the schema with the migration: if the schema has all of it, record it by the tool's own means";
    /// The schema differs from the file in `schema-file`.
    Drift "drift" VerificationFailed Verify "change the database with a migration that has the SQL shown; or, if the database is right, write the file anew by running the same inputs with `command: status`, and commit it";
    /// The schema can't be compared with the file in `schema-file`.
    SchemaUnknown "schema-unknown" VerificationFailed Verify "see the cause; remove `schema-file` to run without the comparison";
    /// An index has become INVALID.
    VerifyIndex "verify-index" VerificationFailed Verify "drop the index with DROP INDEX CONCURRENTLY and create it again";

    /// A statement of the after-care could not be executed.
    AftercareUndone "aftercare-undone" VerificationFailed After "see the cause; the migration itself is not affected";

    /// A report could not be written.
    ReportUnwritten "report-unwritten" Configuration Report "free space on the runner; the migration itself is not affected";
    /// The comment on the pull request could not be written.
    CommentUnwritten "comment-unwritten" Configuration Report "check `github-token`, or set `comment: never`; the migration itself is not affected";

    /// The record of the run in the database could not be written.
    AuditUnwritten "audit-unwritten" Configuration Migrate "see the cause, or set `audit: false`; the migration itself is not affected";
    /// A notification could not be sent.
    NotificationUnsent "notification-unsent" Configuration Report "check the URL in `notify`; the migration itself is not affected";

    /// Stopped by a signal.
    Cancelled "cancelled" Cancelled Migrate "run again when you like: applied migrations are in the ledger";
    /// Stopped by `timeout`.
    TimedOut "timed-out" Cancelled Migrate "raise `timeout`, or find out what took so long";
    /// A defect of bastion-migrate.
    Bug "bug" Bug Report "please report it with the log";
}

impl Code {
    /// Returns whether the session that the fault is about can't be used any more.
    #[must_use]
    pub fn ends_session(self) -> bool {
        matches!(self, Self::DatabaseLost | Self::DatabaseProtocol | Self::DatabaseTimeout)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let code = Self::ALL.iter().find(|code| code.name() == name);
        code.copied().ok_or_else(|| serde::de::Error::custom(format!("`{name}` is not a fault code")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Code};

    const ERRORS: &str = include_str!("../../docs/errors.md");

    #[test]
    fn every_code_has_a_section_under_its_exit_code_and_no_section_lacks_a_code() {
        let mut documented = Vec::new();
        let mut exit = "";
        for line in ERRORS.lines() {
            if let Some(heading) = line.strip_prefix("# Exit ") {
                exit = heading.split(':').next().unwrap();
            }
            if let Some(name) = line.strip_prefix("## ") {
                documented.push(format!("{exit} {name}"));
            }
        }
        let mut known: Vec<String> =
            Code::ALL.iter().map(|code| format!("{} {code}", code.class().exit_code())).collect();
        known.sort();
        documented.sort();
        assert_eq!(documented, known);
    }

    #[test]
    fn every_section_is_short_and_ends_in_the_fix() {
        for section in ERRORS.split("\n## ").skip(1) {
            let section = section.split("\n# ").next().unwrap();
            let lines: Vec<&str> = section.lines().skip(1).filter(|line| !line.is_empty()).collect();
            assert!((2..=6).contains(&lines.len()), "{section}");
            assert!(lines.iter().any(|line| line.starts_with("Fix: ")), "{section}");
        }
    }

    #[test]
    fn every_exit_code_is_in_the_table() {
        for class in Class::ALL {
            assert!(ERRORS.contains(&format!("\n| {} | ", class.exit_code())), "{class:?}");
        }
    }
}
