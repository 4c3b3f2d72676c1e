# PowerShell completion of kubectl-NAME

Register-ArgumentCompleter -Native -CommandName 'kubectl-NAME' -ScriptBlock {
    param($current, $line, $position)
    $words = @($line.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.StartOffset -lt $position } | ForEach-Object { $_.Extent.Text })
    if ($current -eq '') { $words += '""' }
    foreach ($it in @(& 'kubectl-NAME' __complete @words 2>$null)) {
        if ($it -match '^:\d+$') { continue }
        $value, $meaning = $it -split "`t", 2
        if (-not $meaning) { $meaning = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $meaning)
    }
}
