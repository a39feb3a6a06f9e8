//! The closed list of causes, each with what happened and what to do.

macro_rules! causes {
    ($($name:ident = $code:literal, $says:literal, $advice:literal;)*) => {
        /// Why it did not work.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {$(
            #[doc = $says]
            $name,
        )*}

        impl Cause {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable code, for logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The event, as part of a sentence.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says),* }
            }

            /// The remedy.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),* }
            }
        }
    };
}

causes! {
    // The connection.
    Refused = "refused", "connection refused",
        "start the service at that host and port, or correct the host and port";
    UnknownHost = "unknown-host", "the host name cannot be resolved",
        "correct the host name, or the name servers of this machine";
    NoRoute = "no-route", "there is no route to the host",
        "correct the address, or the routes and the firewall of this machine";
    Timeout = "timeout", "no answer in time",
        "check that a firewall lets this machine through to that port, and that the service is not overloaded";
    Closed = "closed", "the other side closed the connection",
        "see the log of the other side: it, or a proxy on the way, ended the connection";
    NotTheProtocol = "not-the-protocol", "the answer was not in the expected protocol",
        "correct the host and port: another kind of service answers there";
    BadUrl = "bad-url", "the URL cannot be used",
        "write the URL with scheme, host and port, as config/default.toml shows";
    // TLS.
    TlsNotOffered = "tls-not-offered", "the server, or something on the way to it, offers no TLS",
        "turn TLS on at the server, or correct the port";
    TlsUntrusted = "tls-untrusted",
        "the server's certificate comes from an authority that is not trusted here",
        "let this machine trust the certificate's authority (for Postgres: ?sslrootcert=/path/ca.pem)";
    TlsWrongName = "tls-wrong-name", "the server's certificate is for another host",
        "use the host name that the certificate has, or give the server one for this name";
    TlsExpired = "tls-expired", "the server's certificate has expired",
        "renew the server's certificate";
    TlsNotYetValid = "tls-not-yet-valid", "the server's certificate is not valid yet",
        "set the clocks of both machines right, or replace the certificate";
    TlsClientCertificate = "tls-client-certificate", "the server wants a client certificate",
        "let the server accept connections without one, or (for Postgres) give sslcert and sslkey in the URL";
    TlsFile = "tls-file", "a certificate or key file that the URL names cannot be read",
        "correct sslrootcert, sslcert and sslkey in the URL: PEM files that this user can read";
    Tls = "tls", "TLS failed",
        "check that both sides speak TLS 1.2 or 1.3, and read the log of the server";
    // Credentials and rights.
    WrongPassword = "wrong-password", "the password is wrong, or there is no such user",
        "correct user and password";
    UnknownRole = "unknown-role", "there is no such role, or it may not log in",
        "create the role with login, or correct the user";
    NotAdmitted = "not-admitted", "the server does not admit this user from here",
        "allow it in the server's pg_hba.conf";
    UnknownDatabase = "unknown-database", "there is no such database",
        "create the database that database.url names, then run `verdict migrate`";
    MissingRight = "missing-right", "this database role may not do it",
        "use the owner's URL, or let the owner run config/roles.sql";
    NoCredentials = "no-credentials", "there are no credentials for it",
        "give an access key, or give this machine a role and let it reach its metadata service";
    UnknownKey = "unknown-key", "the access key is not known there",
        "correct the access key id, or activate the key";
    WrongSignature = "wrong-signature", "the signature does not fit the access key",
        "correct the secret of the access key";
    ExpiredCredentials = "expired-credentials", "the credentials have expired",
        "renew the temporary credentials";
    AccessDenied = "access-denied", "the access key may not do it",
        "grant the key what it needs: in a bucket put, get, list and delete objects";
    WrongClock = "wrong-clock", "this machine's clock is wrong",
        "set the clock right (chrony, systemd-timesyncd)";
    // The object of the request.
    UnknownBucket = "unknown-bucket", "there is no such bucket",
        "create the bucket, or correct its name and the endpoint";
    WrongRegion = "wrong-region", "the bucket is in another region, or has another endpoint",
        "correct region and endpoint to those of the bucket";
    NotFound = "not-found", "it does not exist",
        "create it, or correct the path";
    ReadOnly = "read-only", "it is read-only",
        "make it writable (Postgres: see default_transaction_read_only)";
    Standby = "standby", "it is a standby, which may lack the newest rows",
        "point database.url at the primary, or promote this one";
    Full = "full", "there is no space left",
        "make room, or enlarge the disk or the quota";
    NotPermitted = "not-permitted", "this user may not do it",
        "give the user that Verdict runs as the right to it";
    IsFolder = "is-folder", "it is a folder, not a file",
        "give the path of a file";
    NotFolder = "not-folder", "part of its path is a file, not a folder",
        "correct the path";
    BadPath = "bad-path", "its path cannot be used",
        "correct the path";
    NotText = "not-text", "it is not UTF-8 text",
        "save the file as UTF-8 text";
    PortTaken = "port-taken", "another program listens there already",
        "stop the other program, or choose another port";
    NotOurAddress = "not-our-address", "this machine does not have that address",
        "choose an address of this machine";
    // Limits.
    TooManyConnections = "too-many-connections", "it has no connection left for this role",
        "raise max_connections of the server or the limit of role or database, or lower database.max_connections";
    NoFreeConnection = "no-free-connection", "all connections of this process are busy",
        "raise database.max_connections, or find the slow statements in pg_stat_activity";
    TooManyFiles = "too-many-files", "too many files and connections are open",
        "raise the limit of open files (ulimit -n, LimitNOFILE=)";
    OutOfResources = "out-of-resources", "it is out of memory or another resource",
        "see the log of the server";
    Throttled = "throttled", "it takes no more requests at the moment",
        "wait; if it persists, send fewer requests or raise the limit";
    Busy = "busy", "too many requests wait for it in this process",
        "wait; if it persists, add processes or make the database faster";
    // State of the service.
    Starting = "starting", "it is starting or shutting down",
        "wait until it is up";
    StaleSession = "stale-session", "the session cannot be used any more",
        "wait: it is replaced";
    Conflict = "conflict", "another transaction was in the way",
        "wait: it is tried again";
    Locked = "locked", "another transaction holds a lock",
        "find the long transaction in pg_stat_activity by xact_start, and end it";
    Cancelled = "cancelled", "the server cancelled the statement",
        "see statement_timeout of the role and the load of the server";
    Stopping = "stopping", "this process is shutting down",
        "wait until it is started again";
    ServerError = "server-error", "the other side failed",
        "see the log or the status page of the other side";
    Schema = "schema", "the database is not as this version needs it",
        "run `verdict migrate` as the owner, then config/roles.sql; see docs/upgrades.md";
    // Mistakes of Verdict.
    Internal = "internal", "a mistake in Verdict, or a schema that was changed by hand",
        "report it with this line of the log; `verdict doctor` shows whether the schema is whole";
    Unknown = "unknown", "it failed for a reason that Verdict does not know",
        "see the log of the other side; `verdict doctor` shows more";
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.says())
    }
}
