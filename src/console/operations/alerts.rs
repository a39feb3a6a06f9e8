//! The alerts of deploy/prometheus/rules.yml, each with the section of the page that shows its cause
//! and the section of the runbook that says what to do.

/// One alert.
pub(super) struct Alert {
    pub(super) name: &'static str,
    /// The id of the section.
    pub(super) section: &'static str,
    /// In docs/game-day.md.
    pub(super) runbook: &'static str,
}

/// Those that lead to a section.
pub(super) fn of(section: &str) -> Vec<&'static Alert> {
    ALERTS.iter().filter(|alert| alert.section == section).collect()
}

macro_rules! alerts {
    ($($section:literal: $($name:literal $runbook:literal),+;)*) => {
        pub(super) const ALERTS: &[Alert] = &[
            $($(Alert { name: $name, section: $section, runbook: $runbook },)+)*
        ];
    };
}

alerts! {
    "backlog":
        "VerdictDueWorkWaits" "due-work-waits",
        "VerdictDueWorkStuck" "due-work-waits",
        "VerdictSourceBacklog" "source-backlog",
        "VerdictCallbacksRefused" "refused-callbacks",
        "VerdictSignaturesRefused" "refused-callbacks",
        "VerdictCasesLate" "cases-late";
    "provider":
        "VerdictBudgetUsedUp" "budget-used-up",
        "VerdictSimulatedProvider" "simulated-provider",
        "VerdictCredentialsRefused" "credentials-revoked",
        "VerdictClockRefused" "clock-off",
        "VerdictProviderOutage" "provider-down",
        "VerdictProviderOutageLasts" "provider-down",
        "VerdictScoreDrift" "score-drift";
    "dead-letters":
        "VerdictFailedVerifications" "poison-message",
        "VerdictDecisionsRefused" "decisions-refused";
    "deliveries":
        "VerdictEndpointFailing" "webhook-endpoints",
        "VerdictEndpointDisabled" "webhook-endpoints",
        "VerdictDeliveriesLate" "webhook-endpoints",
        "VerdictDeadLetters" "webhook-endpoints";
    "images":
        "VerdictTasksFail" "images",
        "VerdictImagesLost" "images",
        "VerdictImagesLate" "images",
        "VerdictImagesPastDeadline" "images",
        "VerdictPersons80000" "persons",
        "VerdictPersons95000" "persons",
        "VerdictPersons100000" "persons";
    "keys":
        "VerdictVaultKeyMissing" "key-lost",
        "VerdictOldVaultKeyNeeded" "old-vault-key";
    "processes":
        "VerdictNoWorker" "no-worker",
        "VerdictNotScraped" "not-scraped",
        "VerdictFencedWrites" "fenced-writes",
        "VerdictConnectionsEvicted" "connections-evicted",
        "VerdictPanics" "panics",
        "VerdictConfigurationRefused" "configuration-refused",
        "VerdictActivationRefused" "activation-refused",
        "VerdictVersionsMixed" "versions-mixed",
        "VerdictTracesDropped" "traces-dropped";
    "checks":
        "VerdictFetchesRescheduled" "fetches-rescheduled",
        "VerdictInvariantViolated" "invariants",
        "VerdictCallbacksFail" "postgres-failover",
        "VerdictServerErrors" "server-errors",
        "VerdictAcceptsSlow" "slow-accepts",
        "VerdictInternalFaults" "internal-faults",
        "VerdictAuditContradicted" "audit-contradicted",
        "VerdictAuditNotWitnessed" "audit-not-witnessed",
        "VerdictDatabaseUnprotected" "unprotected-database",
        "VerdictDatabaseConnectionsExhausted" "database-connections",
        "VerdictMetricsQueriesFailed" "metrics-queries-failed";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Alert, console, runbook.
    fn rules() -> BTreeMap<String, (String, String)> {
        let text = include_str!("../../../deploy/prometheus/rules.yml");
        let mut rules = BTreeMap::new();
        let mut alert = String::new();
        for line in text.lines().map(str::trim) {
            let of = |key: &str| line.strip_prefix(key).map(|rest| rest.trim().to_owned());
            if let Some(name) = of("- alert:") {
                alert = name;
                rules.insert(alert.clone(), (String::new(), String::new()));
            } else if let Some(page) = of("console:") {
                rules.get_mut(&alert).unwrap().0 = page;
            } else if let Some(runbook) = of("runbook:") {
                rules.get_mut(&alert).unwrap().1 = runbook;
            }
        }
        rules
    }

    #[test]
    fn every_alert_leads_to_a_section_of_the_page_and_of_the_runbook() {
        let template = include_str!("../templates/operations.html");
        let rules = rules();
        assert!(rules.len() > 30, "{}", rules.len());
        assert_eq!(rules.len(), ALERTS.len());
        for alert in ALERTS {
            let (page, runbook) = &rules[alert.name];
            assert_eq!(*page, format!("/operations#{}", alert.section), "{}", alert.name);
            assert_eq!(*runbook, format!("docs/game-day.md#{}", alert.runbook), "{}", alert.name);
            let id = format!("id=\"{}\"", alert.section);
            assert!(template.contains(&id), "{} has no section", alert.section);
        }
    }
}
