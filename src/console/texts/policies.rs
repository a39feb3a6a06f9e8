//! Policies: what decides where, and changing it.

texts! {
    /// `/policies` and everything below it.
    pub struct Policies {
        title: "Policies", "策略";
        add: "New policy", "新建策略";
        in_use: "In use", "正在使用";
        in_use_hint: "A change reaches every process within a second. Decisions already made stay as they are.", "更改会在一秒内对所有进程生效；已作出的结论不变。";
        scene: "Scene", "场景";
        general: "Scenes without their own policy", "没有专用策略的场景";
        decides: "Decides", "生效策略";
        follows: "the policy for scenes without their own", "沿用通用策略";
        in_shadow: "In shadow", "影子策略";
        since: "Since", "起始时间";
        by: "By", "操作人";
        actions: "Actions", "操作";
        installed: "the configuration", "初始配置";
        nothing_in_use: "No policy is in use: nothing can be decided.", "没有正在使用的策略，无法作出结论。";

        roll_back: "Roll back", "回滚";
        deactivate: "Remove from the scene", "取消专用策略";
        promote: "Promote the shadow", "启用影子策略";
        end_shadow: "Stop the shadow", "停止影子策略";
        activate: "Activate", "启用";
        start_shadow: "Start as shadow", "作为影子运行";

        proposals: "Waiting for a second person", "等待第二人同意";
        proposals_hint: "A proposal counts for 24 hours.", "提议在 24 小时内有效。";
        proposed_activate: "Activate {policy} for: {scene}", "启用 {policy}，范围：{scene}";
        proposed_promote: "Promote the shadow {policy} for: {scene}", "启用影子策略 {policy}，范围：{scene}";
        proposed_deactivate: "Remove {policy} from the scene {scene}", "取消场景 {scene} 的专用策略 {policy}";
        proposed_unknown: "A change that an older version recorded: {action}", "由旧版本记录的更改：{action}";
        proposed_by: "{person} proposed this at {time}", "{person} 于 {time} 提议";
        proposed_by_you: "You proposed this at {time}. Another person must agree.", "您于 {time} 提议，须由另一人同意。";
        agree: "Look at it and agree", "查看并同意";
        withdraw: "Withdraw", "撤回";
        turn_down: "Turn down", "否决";

        all: "All policies", "全部策略";
        name: "Name", "名称";
        digest: "Digest", "摘要";
        added: "Added", "添加时间";
        used: "In use", "使用情况";
        active_in: "decides: {scene}", "生效：{scene}";
        shadow_in: "shadow: {scene}", "影子：{scene}";
        not_used: "not in use", "未使用";
        show_all: "Show all {n}", "显示全部 {n} 条";

        history: "History", "变更历史";
        no_history: "Nothing was changed here.", "没有变更记录。";
        every_scene: "All", "全部";
        time: "Time", "时间";
        change: "Change", "变更";
        changed_active: "Decides", "生效";
        changed_shadow: "Shadow", "影子";
        changed_back: "Rolled back", "回滚";
        from_to: "From → to", "变更前 → 变更后";
        none: "none", "无";
        purpose: "Purpose", "用途";
        purpose_hint: "Goes on record and stays there: no name, no number.", "将永久留存记录，请勿填写姓名或证件号码。";
        earlier: "Earlier changes", "更早的变更";
        newest: "Newest changes", "最新的变更";

        facts: "Facts", "基本信息";
        lines: "Lines", "行数";
        rules: "Rules", "规则数";
        products: "Products", "产品";
        bounds: "Score bounds", "分数界限";
        text: "Text", "策略文本";
        findings: "{errors} {errors|error|errors}, {warnings} {warnings|warning|warnings}", "{errors} 个错误，{warnings} 个警告";
        no_findings: "No errors and no warnings", "没有错误或警告";
        unchecked: "Not checked now: other checks are running. Load the page again.", "正在执行其他检查，暂未检查。请重新加载页面。";
        older: "An earlier version accepted this text. Today it would be refused.", "此文本由旧版本接受，按现行规则将被拒绝。";
        error: "Error", "错误";
        warning: "Warning", "警告";
        in_rule: "in rule {rule}", "规则 {rule}";
        at_line: "Line {n}", "第 {n} 行";
        where_used: "Where it was used", "使用记录";
        never_used: "It was never in use.", "从未使用。";
        until: "Until", "结束时间";
        still: "now", "至今";
        use_it: "Use this policy", "投入使用";
        for_scene: "Scene (empty: scenes without their own policy)", "场景（留空：没有专用策略的场景）";
        edit_copy: "Edit a copy", "复制并编辑";
        compare_with: "Compare with", "与之比较";
        compare: "Show the differences", "查看差异";
        try_it: "Dry run on one verification", "对单条核验试运行";

        new_title: "New policy", "新建策略";
        new_hint: "The text is checked as the command line checks it. A stored policy decides nothing until it is activated.", "文本将按命令行的同一规则检查。保存后的策略在启用之前不会生效。";
        typed: "Policy (TOML)", "策略文本（TOML）";
        check: "Check", "检查";
        store: "Store", "保存";
        is_valid: "The text is valid. Its digest will be {digest}.", "文本有效，其摘要为 {digest}。";
        is_invalid: "The text has errors: nothing was stored.", "文本有错误，未保存。";
        stored: "Stored. It decides nothing yet.", "已保存，尚未生效。";
        stored_before: "This text was stored before.", "此文本之前已保存。";

        diff_title: "Differences", "差异";
        diff_from_to: "From {old} to {new}", "从 {old} 到 {new}";
        same: "The two texts are equal.", "两份文本相同。";
        swap: "Compare the other way round", "反向比较";
        rule_changes: "What changes in the rules", "规则的变化";
        no_rule_changes: "Every rule decides as before: only words or examples differ.", "所有规则的判断不变，仅文字或示例不同。";
        cannot_compare_rules: "This version cannot compile one of the two: only the texts are compared.", "当前版本无法编译其中一份策略，仅比较文本。";
        rule: "Rule", "规则";
        rule_added: "New rule", "新增规则";
        rule_removed: "Removed rule", "删除规则";
        rule_changed: "Changed rule", "修改规则";
        outcome_changed: "Outcome: {old} → {new}", "结论：{old} → {new}";
        reason_changed: "Reason: {old} → {new}", "原因：{old} → {new}";
        structure_changed: "The comparisons are joined in another way.", "比较条件的组合方式不同。";
        words_changed: "The text for people differs.", "面向用户的说明文字不同。";
        comparison_gone: "no longer compares", "不再比较";
        comparison_new: "now compares", "新增比较";
        absent_as: "absent: {value}", "缺失时视为 {value}";
        line_changes: "What changes in the text", "文本的变化";
        old_line: "Old line", "原行号";
        new_line: "New line", "新行号";
        sign: "Change", "变更";
        skipped: "{n} equal {n|line|lines}", "{n} 行相同";
        added_line: "added", "新增";
        removed_line: "removed", "删除";

        dry_title: "Dry run", "试运行";
        dry_hint: "Decides the stored evidence of one verification by this policy. Nothing is written.", "使用此策略对单条核验的已存证据重新判断，不写入任何内容。";
        dry_find: "Verification", "核验";
        dry_go: "Decide", "判断";
        dry_none: "There is no decision yet, so there is no evidence to decide by.", "尚无结论，因此没有可用的证据。";
        dry_erased: "The person was erased: their evidence is not decided again.", "当事人资料已删除，不再重新判断。";
        dry_unusable: "This version cannot compile the policy.", "当前版本无法编译此策略。";
        dry_many: "{n} {n|verification matches|verifications match}: choose one.", "找到 {n} 条核验，请选择一条。";
        dry_same: "The outcome stays: {new}.", "结论不变：{new}。";
        dry_other: "The outcome changes: {old} → {new}.", "结论改变：{old} → {new}。";
        dry_person: "A person gave the current decision: {outcome}. Below is what the policy had decided.", "当前结论由人工作出：{outcome}。下方为策略当时的结论。";
        dry_old: "As decided", "当时的结论";
        dry_new: "By this policy", "按此策略";
        dry_by: "{policy}, {time}", "{policy}，{time}";

        change_title: "Change what decides", "更改生效策略";
        what_changes: "What changes", "变更内容";
        says_general: "In every scene without its own policy, {new} decides from now on.", "所有没有专用策略的场景，今后由 {new} 作出结论。";
        says_scene: "In the scene {scene}, {new} decides from now on.", "场景 {scene} 今后由 {new} 作出结论。";
        says_until: "Until now {old} has decided there.", "此前由 {old} 作出结论。";
        says_until_general: "Until now {old} has decided there, the policy for scenes without their own.", "此前沿用通用策略 {old}。";
        says_keep: "Scenes that keep their own policy: {scenes}.", "保留专用策略的场景：{scenes}。";
        says_follow: "The scene {scene} loses its own policy: {new} decides there.", "场景 {scene} 不再有专用策略，由通用策略 {new} 作出结论。";
        says_shadow_general: "In every scene without its own shadow, {new} decides beside the active policy, without effect.", "所有没有专用影子策略的场景，{new} 将与生效策略并行判断，不影响结论。";
        says_shadow_scene: "In the scene {scene}, {new} decides beside the active policy, without effect.", "在场景 {scene} 中，{new} 将与生效策略并行判断，不影响结论。";
        says_shadow_ends: "{old} stops deciding in shadow.", "{old} 停止影子运行。";
        says_past: "Decisions already made stay as they are.", "已作出的结论不变。";
        says_undo: "A rollback undoes this within a second.", "可通过回滚在一秒内撤销此更改。";
        says_again: "A second rollback goes one step further back.", "再次回滚将继续回到更早的策略。";
        says_two: "Another person must agree within 24 hours. Until then nothing changes.", "须由另一人在 24 小时内同意，在此之前不做任何更改。";
        says_carry_out: "Your agreement carries it out at once.", "您同意后立即执行。";
        says_for: "Purpose: {purpose}", "用途：{purpose}";
        no_change: "That is so already: there is nothing to change.", "当前已是如此，无需更改。";
        nothing_there: "There is nothing that this could change.", "没有可更改的内容。";
        changed_meanwhile: "The policies were changed meanwhile. Nothing was done: read again what this changes now.", "期间已有他人更改策略，未执行任何操作，请重新确认变更内容。";
        propose: "Propose", "提议";
        confirm_activate: "Activate", "启用";
        confirm_agree: "Agree and carry out", "同意并执行";
        cancel: "Cancel", "取消";

        done_changed: "Done. Every process follows within a second.", "已完成，所有进程将在一秒内生效。";
        done_already: "It was already in effect: nothing was changed.", "此前已是如此，未做更改。";
        done_proposed: "Proposed. Another person must agree within 24 hours.", "已提议，须由另一人在 24 小时内同意。";
        done_withdrawn: "The proposal is closed. Nothing was changed.", "提议已关闭，未做更改。";
    }
}
